"""From a vouched-for name to the user that the upstream needs."""

from __future__ import annotations

import pytest

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.config import parse_settings
from compat_auth.directory import DirectoryUser
from compat_auth.errors import ConfigError, NoSuchUser
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Reject


class Users:
    name = "airflow_db"

    def find(self, username: str) -> DirectoryUser | None:
        users = {
            "zoë": DirectoryUser("Zoë", email="zoe@example.org", roles=("Op",), upstream_id="7"),
            "bob": DirectoryUser("bob", active=False, upstream_id="8"),
        }
        return users.get(username)


class MoreUsers:
    name = "mapping"

    def find(self, username: str) -> DirectoryUser | None:
        return DirectoryUser(username) if username in ("bob", "carol") else None


def test_an_identity_is_kept_where_nothing_is_looked_up() -> None:
    identity = Identity("zoë", "kerberos")

    assert UserLookup(()).complete(identity) is identity


def test_the_directorys_number_and_roles_complete_the_identity() -> None:
    completed = UserLookup((Users(),)).complete(Identity("zoë", "kerberos", roles=("Admin",), expires_at=9))

    assert completed == Identity(
        "Zoë",
        "kerberos",
        directory="airflow_db",
        email="zoe@example.org",
        roles=("Op",),
        upstream_id="7",
        expires_at=9,
    )


@pytest.mark.parametrize(
    "identity",
    [
        pytest.param(Identity("nobody", "basic_auth", upstream_id="3"), id="has-its-number"),
        pytest.param(Identity("nobody", "basic_auth", directory="htpasswd"), id="comes-from-a-directory"),
    ],
)
def test_an_identity_that_is_complete_is_not_looked_up_again(identity: Identity) -> None:
    assert UserLookup((Users(),)).complete(identity) is identity


def test_an_identity_from_a_directory_is_looked_up_where_the_upstream_wants_its_number() -> None:
    identity = Identity("zoë", "basic_auth", directory="htpasswd")

    assert UserLookup((Users(),), needs_key=True).complete(identity).upstream_id == "7"


@pytest.mark.parametrize(
    ("username", "state"), [("nobody", "unknown to airflow_db"), ("bob", "disabled in airflow_db")]
)
def test_whom_the_directory_does_not_know_or_has_disabled_is_refused(username: str, state: str) -> None:
    with pytest.raises(NoSuchUser, match=state):
        UserLookup((Users(),)).complete(Identity(username, "kerberos"))


def test_the_first_directory_that_knows_a_name_decides_even_when_a_later_one_would_let_it_in() -> None:
    lookup = UserLookup((Users(), MoreUsers()))

    refused = lookup.accept(Accept(Identity("bob", "kerberos")))
    accepted = lookup.accept(Accept(Identity("carol", "kerberos"), reusable_s=5))

    assert isinstance(refused, Reject)
    assert refused.status == 403
    assert accepted == Accept(Identity("carol", "kerberos", directory="mapping"), reusable_s=5)


class Names:
    """Knows people, but not the upstream's keys."""

    name = "ldap"
    knows_upstream_id = False

    def find(self, username: str) -> DirectoryUser | None:
        users = {
            "zoe@REALM": DirectoryUser("zoë", email="zoe@ldap.example", roles=("Viewer",)),
            "bob@REALM": DirectoryUser("bob"),
            "left@REALM": DirectoryUser("zoë", active=False),
            "new@REALM": DirectoryUser("new"),
        }
        return users.get(username)


def test_where_the_first_directory_knows_no_key_the_next_is_asked_for_the_name_that_it_gave() -> None:
    completed = UserLookup((Names(), Users()), needs_key=True).complete(Identity("zoe@REALM", "kerberos"))

    assert completed == Identity(
        "Zoë", "kerberos", directory="ldap", email="zoe@ldap.example", roles=("Viewer",), upstream_id="7"
    )


@pytest.mark.parametrize(
    ("username", "state"),
    [
        ("bob@REALM", "disabled in airflow_db"),
        ("left@REALM", "disabled in ldap"),
        ("who@REALM", "unknown to ldap, air"),
    ],
)
def test_each_directory_that_is_asked_can_refuse(username: str, state: str) -> None:
    with pytest.raises(NoSuchUser, match=state):
        UserLookup((Names(), Users()), needs_key=True).complete(Identity(username, "kerberos"))


def test_a_user_whose_key_nobody_knows_stays_without_one() -> None:
    completed = UserLookup((Names(), Users()), needs_key=True).complete(Identity("new@REALM", "kerberos"))

    assert completed == Identity("new", "kerberos", directory="ldap")


def test_where_no_key_is_wanted_the_next_directory_is_not_asked() -> None:
    completed = UserLookup((Names(), Users())).complete(Identity("bob@REALM", "kerberos"))

    assert completed == Identity("bob", "kerberos", directory="ldap")


def test_a_lookup_tells_whether_it_may_find_keys() -> None:
    assert UserLookup((Names(), Users())).finds_keys
    assert not UserLookup((Names(),)).finds_keys
    assert not UserLookup(()).finds_keys


def test_a_directory_that_only_checks_passwords_cannot_be_a_lookup() -> None:
    settings = parse_settings(
        {"lookup": {"directories": ["upstream"]}, "upstream": {"url": "http://127.0.0.1:1"}}, origin="test"
    )

    with pytest.raises(ConfigError, match="only checks passwords"):
        UserLookup.from_settings(settings)

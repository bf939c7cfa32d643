"""From a vouched-for name to the user that the upstream needs."""

from __future__ import annotations

import pytest

from compat_auth.directory import DirectoryUser
from compat_auth.errors import NoSuchUser
from compat_auth.identity import Identity
from compat_auth.lookup import keep_identity, resolve_in


class Users:
    name = "airflow_db"

    def find(self, username: str) -> DirectoryUser | None:
        users = {
            "zoë": DirectoryUser("Zoë", email="zoe@example.org", roles=("Op",), upstream_id="7"),
            "bob": DirectoryUser("bob", active=False, upstream_id="8"),
        }
        return users.get(username)

    def decoy(self) -> str:
        return ""


def test_an_identity_is_kept_where_the_upstream_needs_nothing_more() -> None:
    identity = Identity("zoë", "kerberos")

    assert keep_identity(identity) is identity


def test_the_upstreams_own_number_and_roles_complete_the_identity() -> None:
    resolved = resolve_in(Users())(Identity("zoë", "kerberos", roles=("Admin",), expires_at=9))

    assert resolved == Identity(
        "Zoë", "kerberos", email="zoe@example.org", roles=("Op",), upstream_id="7", expires_at=9
    )


def test_an_identity_that_has_its_number_is_not_looked_up_again() -> None:
    identity = Identity("nobody", "basic_auth", upstream_id="3")

    assert resolve_in(Users())(identity) is identity


@pytest.mark.parametrize(("username", "state"), [("nobody", "unknown to"), ("bob", "disabled in")])
def test_whom_the_upstream_does_not_know_or_has_disabled_is_refused(username: str, state: str) -> None:
    with pytest.raises(NoSuchUser, match=state):
        resolve_in(Users())(Identity(username, "kerberos"))

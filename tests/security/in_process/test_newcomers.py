"""Every way that we know of to be created as a user whom nobody wanted, or to come back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from compat_auth.authn.users.account_links import FirstUseLinks
from compat_auth.credentials import Credential
from compat_auth.errors import BackendUnavailable, NoSuchUser
from compat_auth.identity import Identity, Token
from compat_auth.store.migration import open_store
from compat_auth.store.tables.pinned_subjects import PinnedSubjects
from compat_auth.tokens.strategies import Kind
from compat_auth.tokens.upstream_login import UpstreamLogin
from compat_auth.tokens.upstream_users import NewUser, UpstreamUsers
from compat_auth_backends.directories.airflow_db import AirflowDatabaseDirectory
from compat_auth_backends.openid.provisioning import NewcomersInAirflow

ISSUER = "https://accounts.google.com"
EMAIL = "alice@example.org"
_TABLES = """
CREATE TABLE ab_user (id INTEGER PRIMARY KEY, username TEXT UNIQUE, email TEXT, password TEXT, active BOOLEAN);
CREATE TABLE ab_role (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE ab_user_role (id INTEGER PRIMARY KEY, user_id INTEGER, role_id INTEGER);
INSERT INTO ab_user VALUES (1, 'admin', 'admin@example.org', '', 1);
"""


class SpokenFor:
    """A strategy that notes whom it speaks for."""

    def __init__(self) -> None:
        self.subjects: list[str] = []

    def obtain(self, identity: Identity, credential: Credential, *, fresh: bool) -> Token:
        self.subjects.append(identity.upstream_id)
        return Token("a.b.c", 0)

    def issue(self, identity: Identity, credential: Credential, kind: Kind) -> Token:
        raise AssertionError(kind)

    def copy(self, subject: str, jti: str, expires_at: int) -> str | None:
        raise AssertionError(jti)


class Airflow:
    """Airflow's database, and users that are noted instead of added; then `fails` is raised, if there is one."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "airflow.db"
        self.added: list[NewUser] = []
        self.fails: Exception | None = None
        self.rival = ""
        with closing(sqlite3.connect(self.path)) as database:
            database.executescript(_TABLES)

    def insert(self, username: str, email: str, *, active: bool) -> None:
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute(
                "INSERT INTO ab_user (username, email, password, active) VALUES (?, ?, '', ?)",
                (username, email, active),
            )


class Users(UpstreamUsers):
    def __init__(self, airflow: Airflow) -> None:
        self._airflow = airflow

    def add(self, user: NewUser, administrator: Identity) -> bool:
        assert administrator.upstream_id == "1"
        self._airflow.added.append(user)
        if self._airflow.rival:
            self._airflow.insert(self._airflow.rival, self._airflow.rival, active=True)
        if self._airflow.fails is not None:
            raise self._airflow.fails
        return True


@pytest.fixture
def airflow(tmp_path: Path) -> Airflow:
    return Airflow(tmp_path)


@pytest.fixture
def pins(tmp_path: Path) -> PinnedSubjects:
    return PinnedSubjects(open_store(f"sqlite:///{tmp_path / 'store.db'}"))


@pytest.fixture
def create(airflow: Airflow, pins: PinnedSubjects) -> Callable[..., None]:
    """Create the user of an account; arguments change it and the settings."""

    def ask(
        claims: dict[str, Any] | None = None,
        *,
        email: str = EMAIL,
        subjects: dict[str, str] | None = None,
        administrator: str = "admin",
    ) -> None:
        newcomers = NewcomersInAirflow(
            Users(airflow),
            AirflowDatabaseDirectory(f"sqlite:///{airflow.path}"),
            FirstUseLinks(ISSUER, subjects or {}, pins),
            role="Viewer",
            administrator=administrator,
            backend="google_openid",
        )
        newcomers.create(Identity(email, "google_openid", subject="1001", email=email), claims or {})

    return ask


def test_a_new_account_is_created(create: Callable[..., None], airflow: Airflow) -> None:
    create({"given_name": "Zoë", "family_name": "Müller"})

    assert airflow.added == [NewUser(EMAIL, "Zoë", "Müller", "Viewer")]


@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize(("username", "email"), [("old", "Alice@Example.org"), ("ALICE@example.org", "")])
def test_whoever_has_the_address_in_other_letters_gets_no_twin(
    create: Callable[..., None], airflow: Airflow, username: str, email: str, active: bool
) -> None:
    airflow.insert(username, email, active=active)

    with pytest.raises(NoSuchUser, match="other letters"):
        create()

    assert airflow.added == []


def test_an_account_whose_user_was_deleted_is_not_created_again(
    create: Callable[..., None], airflow: Airflow, pins: PinnedSubjects
) -> None:
    pins.pin(ISSUER, "1001", EMAIL, now=1)

    with pytest.raises(NoSuchUser, match="who is gone"):
        create()

    assert airflow.added == []


def test_the_next_owner_of_an_address_does_not_become_the_user_who_had_it(
    create: Callable[..., None], airflow: Airflow, pins: PinnedSubjects
) -> None:
    pins.pin(ISSUER, "1000", EMAIL, now=1)

    with pytest.raises(NoSuchUser, match="was linked to an account that is not"):
        create()

    assert airflow.added == []


def test_a_link_to_the_same_name_at_another_issuer_is_no_obstacle(
    create: Callable[..., None], airflow: Airflow, pins: PinnedSubjects
) -> None:
    pins.pin("https://issuer.example.org", "1000", EMAIL, now=1)

    create()

    assert [user.username for user in airflow.added] == [EMAIL]


@pytest.mark.parametrize("subjects", [{"1001": "somebody"}, {"1000": EMAIL}], ids=["account", "address"])
def test_what_an_operator_has_written_down_is_not_created(
    create: Callable[..., None], airflow: Airflow, subjects: dict[str, str]
) -> None:
    with pytest.raises(NoSuchUser, match="setting `subjects`"):
        create(subjects=subjects)

    assert airflow.added == []


@pytest.mark.parametrize("active", [True, False], ids=["unknown", "disabled"])
def test_nobody_is_created_in_the_name_of_a_user_who_is_not_there(
    create: Callable[..., None], airflow: Airflow, active: bool
) -> None:
    if not active:
        airflow.insert("boss", "boss@example.org", active=False)

    with pytest.raises(BackendUnavailable, match="no active user"):
        create(administrator="boss")

    assert airflow.added == []


def test_the_administrator_is_a_name_and_not_whoever_has_it_as_address(
    create: Callable[..., None], airflow: Airflow
) -> None:
    airflow.insert("mallory", "boss", active=True)

    with pytest.raises(BackendUnavailable, match="no active user"):
        create(administrator="boss")

    assert airflow.added == []


@pytest.mark.parametrize(
    ("claims", "names"),
    [
        pytest.param({}, ("alice", "-"), id="none"),
        pytest.param({"given_name": ["A"], "family_name": 7}, ("alice", "-"), id="not-texts"),
        pytest.param({"given_name": " \n", "family_name": "\x00"}, ("alice", "-"), id="nothing-to-see"),
        pytest.param({"given_name": "A\r\nB", "family_name": "C\u202eD"}, ("AB", "CD"), id="control-characters"),
        pytest.param({"given_name": "A" * 99, "family_name": "B" * 99}, ("A" * 64, "B" * 64), id="too-long"),
    ],
)
def test_names_are_taken_only_as_plain_text(
    create: Callable[..., None], airflow: Airflow, claims: dict[str, Any], names: tuple[str, str]
) -> None:
    create(claims)

    assert [(user.first_name, user.last_name) for user in airflow.added] == [names]


def test_a_user_who_could_not_be_added_is_a_failure(create: Callable[..., None], airflow: Airflow) -> None:
    airflow.fails = BackendUnavailable("500")

    with pytest.raises(BackendUnavailable, match="500"):
        create()


def test_a_user_whom_another_request_added_meanwhile_is_none(create: Callable[..., None], airflow: Airflow) -> None:
    airflow.fails, airflow.rival = BackendUnavailable("500"), EMAIL

    create()

    assert [user.username for user in airflow.added] == [EMAIL]


def test_the_upstream_is_asked_in_the_administrator_s_name_alone_and_the_password_is_new_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[tuple[dict[str, Any], str]] = []

    def add(_self: UpstreamLogin, path: str, content: dict[str, Any], token: str) -> int:
        assert path == "/auth/fab/v1/users"
        sent.append((content, token))
        return 200 if len(sent) == 1 else 409

    monkeypatch.setattr(UpstreamLogin, "add", add)
    strategy = SpokenFor()
    users = UpstreamUsers(UpstreamLogin("127.0.0.1", 1, "/auth/token", None, 1, 1), strategy)
    administrator = Identity("admin", "google_openid", subject="admin", upstream_id="1")

    added = [users.add(NewUser(EMAIL, "A", "B", "Viewer"), administrator) for _ in range(2)]

    assert (added, strategy.subjects) == ([True, False], ["1", "1"])
    passwords = {content.pop("password") for content, _ in sent}
    assert len(passwords) == 2
    assert all(len(password) >= 64 for password in passwords)
    expected = {
        "username": EMAIL,
        "email": EMAIL,
        "first_name": "A",
        "last_name": "B",
        "roles": [{"name": "Viewer"}],
    }
    assert sent == [(expected, "a.b.c")] * 2

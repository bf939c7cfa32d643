"""Airflow's own user tables as a directory, on SQLite; PostgreSQL is a peer test."""

# A unit test may look inside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from compat_auth.authn.passwords.hashes import check_hash
from compat_auth.config import parse_settings
from compat_auth.directory import DirectoryUser, HashDirectory
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth_backends.directories.airflow_db import DECOY_MAX_AGE_S, AirflowDatabaseDirectory
from support.airflow_tables import ADMIN, OLD, SCRYPT, Make, url_of
from support.statements import forbid_new_statements

NOW = datetime(2026, 1, 1)  # noqa: DTZ001  # as Airflow stores it


@pytest.mark.parametrize("collate", ["", 'COLLATE "NOCASE"'], ids=["airflow-2", "airflow-3"])
@pytest.mark.parametrize("typed", ["Admin", "admin", "ADMIN", "admin@example.org"])
def test_a_user_is_found_by_name_without_case_or_by_email(typed: str, collate: str, make: Make) -> None:
    directory = make(
        ADMIN, (8, "other", OLD, True, "other@example.org"), roles=((7, 3), (7, 1), (8, 2)), collate=collate
    )

    user = directory.find(typed)

    assert user is not None
    assert user == DirectoryUser(
        "Admin", password_hash=SCRYPT, email="admin@example.org", roles=("Admin", "Op"), upstream_id="7"
    )
    assert check_hash(user.password_hash, "pässword")
    assert isinstance(directory, HashDirectory)


@pytest.mark.parametrize("typed", ["nobody", "Admin@example.org", "adm%", "adm_n", "' OR 1=1 --", "", "a\0b", "ADMİN"])
def test_no_other_spelling_finds_anybody(typed: str, make: Make) -> None:
    assert make(ADMIN).find(typed) is None


@pytest.mark.parametrize("active", [False, None])
def test_an_inactive_user_is_known_and_not_active(active: bool | None, make: Make) -> None:
    user = make((7, "gone", SCRYPT, active, "gone@example.org")).find("gone")

    assert user is not None
    assert user.active is False


def test_a_user_without_a_password_has_no_hash(make: Make) -> None:
    user = make((7, "sso", None, True, "sso@example.org")).find("sso")

    assert user is not None
    assert user.password_hash == ""


def test_a_name_wins_over_the_email_address_of_another(make: Make) -> None:
    directory = make((1, "boss", SCRYPT, True, "x@example.org"), (2, "x@example.org", OLD, True, "y@example.org"))

    user = directory.find("x@example.org")

    assert user is not None
    assert user.upstream_id == "2"


def test_two_names_that_differ_in_case_only_can_both_not_log_in(make: Make) -> None:
    directory = make((1, "bob", SCRYPT, True, "a@example.org"), (2, "Bob", OLD, True, "b@example.org"))

    assert [directory.find(name) for name in ("bob", "Bob")] == [
        DirectoryUser("bob", active=False),
        DirectoryUser("Bob", active=False),
    ]


def test_a_look_up_by_name_ignores_email_addresses(make: Make) -> None:
    directory = make(ADMIN)

    assert directory.find_by_username("admin@example.org") is None
    assert directory.find_by_username("ADMIN") == directory.find("Admin")


def test_a_user_switched_off_in_the_database_is_off_at_once(make: Make, database: Path) -> None:
    directory = make(ADMIN)
    before = directory.find("admin")

    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE ab_user SET active = 0")
        connection.commit()
    after = directory.find("admin")

    assert before is not None
    assert after is not None
    assert (before.active, after.active) == (True, False)


def test_the_database_is_not_written_and_cannot_be(make: Make, database: Path) -> None:
    directory = make(ADMIN)
    before = sha256(database.read_bytes()).digest()
    directory.find("admin")
    directory.decoy()

    with directory._connect() as connection, pytest.raises(OperationalError, match="readonly"):
        connection.execute(text("UPDATE ab_user SET login_count = 1"))

    assert sha256(database.read_bytes()).digest() == before
    assert [path.name for path in database.parent.iterdir()] == [database.name]


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    directory = AirflowDatabaseDirectory(f"sqlite:///{tmp_path}/none.db")

    with pytest.raises(BackendUnavailable, match=r"none\.db"):
        directory.find("admin")

    assert list(tmp_path.iterdir()) == []


def test_a_database_of_something_else_is_unavailable(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE t (a)")

    directory = AirflowDatabaseDirectory(f"sqlite:///{tmp_path}/other.db")

    with pytest.raises(BackendUnavailable, match="OperationalError"):
        directory.find("admin")
    with pytest.raises(BackendUnavailable, match="OperationalError"):
        directory.decoy()


def test_the_decoy_is_like_the_users_hashes_and_follows_them(make: Make, database: Path) -> None:
    now = 0.0
    make((1, "bob", OLD, True, "a@example.org"), (2, "sso", None, True, "b@example.org"))
    directory = AirflowDatabaseDirectory(url_of(database), monotonic=lambda: now)
    first = directory.decoy()

    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE ab_user SET password = ?", (SCRYPT,))
        connection.commit()
    second = directory.decoy()
    now += DECOY_MAX_AGE_S + 1
    third = directory.decoy()

    assert first.startswith("pbkdf2:sha256:50000$")
    assert second == first
    assert third.startswith("scrypt:32768:8:1$")


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("", id="empty"),
        pytest.param("sqlite://", id="sqlite-in-memory"),
        pytest.param("sqlite:///:memory:", id="sqlite-in-memory-by-name"),
        pytest.param("mssql://root:hunter2@db/airflow", id="another-database"),
        pytest.param("mysql://root:hunter2@db", id="mysql-without-a-database"),
        pytest.param("mysql://root:hunter2@db/airflow?ssl_mode=maybe", id="mysql-with-odd-encryption"),
        pytest.param("hunter2", id="no-url"),
        pytest.param("postgresql://a:hunter2@h:port/db", id="port-is-no-number"),
    ],
)
def test_a_url_that_cannot_work_is_refused_without_showing_its_password(url: str) -> None:
    settings = parse_settings({"airflow_db": {"url": url}}, origin="test")

    with pytest.raises(ConfigError, match=r"airflow_db\.url") as caught:
        AirflowDatabaseDirectory.from_settings(settings)

    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(caught.value.__cause__)


@pytest.mark.parametrize(
    "scheme",
    ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2", "postgres+psycopg2", "postgresql+asyncpg"],
)
def test_every_spelling_of_a_postgresql_url_uses_the_driver_that_is_there(scheme: str) -> None:
    directory = AirflowDatabaseDirectory(f"{scheme}://airflow:hunter2@127.0.0.1:1/airflow?password=hunter3")

    with pytest.raises(BackendUnavailable) as caught:
        directory.find("admin")

    assert directory._url.drivername == "postgresql+psycopg"
    assert "postgresql://127.0.0.1/airflow" in str(caught.value)
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda directory: directory.find("admin"), id="name"),
        pytest.param(lambda directory: directory.find("admin@example.org"), id="e-mail"),
        pytest.param(lambda directory: directory.find_by_username("admin"), id="name-alone"),
        pytest.param(lambda directory: directory.find_by_id("7"), id="number"),
        pytest.param(lambda directory: directory.knows("ADMIN@example.org"), id="newcomer"),
        pytest.param(lambda directory: directory.has_role("Admin"), id="role"),
        pytest.param(lambda directory: directory.find_session("s", NOW), id="session"),
        pytest.param(lambda directory: directory.anybody(), id="anybody"),
        pytest.param(lambda directory: directory.decoy(), id="decoy"),
    ],
)
def test_no_statement_is_built_while_a_request_waits(
    ask: Callable[[AirflowDatabaseDirectory], object], make: Make, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make(ADMIN)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE session (session_id VARCHAR(255), data BLOB, expiry DATETIME)")
    # A connection that is used again is tested first, with a statement of the driver's own.
    expected = [ask(directory), ask(directory)][-1]
    forbid_new_statements(monkeypatch)

    answer = ask(directory)

    assert answer == expected

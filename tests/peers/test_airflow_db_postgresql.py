"""Airflow's own user tables in a real PostgreSQL."""

# A unit test may look inside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Protocol

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.security import generate_password_hash

from compat_auth.authn.passwords.hashes import check_hash
from compat_auth.directory import DirectoryUser
from compat_auth.errors import BackendUnavailable
from compat_auth_backends.directories import airflow_db
from compat_auth_backends.directories.airflow_db import AirflowDatabaseDirectory

pytestmark = pytest.mark.peer

SCRYPT = generate_password_hash("pässword")
TABLES = """
CREATE TABLE ab_role (id INTEGER PRIMARY KEY, name VARCHAR(64) NOT NULL UNIQUE);
CREATE TABLE ab_user (
    id INTEGER PRIMARY KEY, first_name VARCHAR(256) NOT NULL, last_name VARCHAR(256) NOT NULL,
    username VARCHAR(512) NOT NULL UNIQUE, password VARCHAR(256), active BOOLEAN, email VARCHAR(512) NOT NULL UNIQUE,
    last_login TIMESTAMP, login_count INTEGER, fail_login_count INTEGER);
CREATE UNIQUE INDEX idx_ab_user_username ON ab_user (lower(username));
CREATE TABLE ab_user_role (id SERIAL PRIMARY KEY, user_id INTEGER REFERENCES ab_user, role_id INTEGER REFERENCES ab_role);
INSERT INTO ab_role VALUES (1, 'Admin'), (2, 'Viewer');
"""


class Server(Protocol):
    url: str


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    """A database of its own, with Airflow's tables and three users."""
    name = f"airflow_{uuid.uuid4().hex[:8]}"
    server = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(postgres.url).set(database=name)
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in TABLES.split(";\n"):
            if statement.strip():
                connection.execute(text(statement))
        connection.execute(
            text(
                "INSERT INTO ab_user (id, first_name, last_name, username, password, active, email) VALUES"
                " (7, 'F', 'L', 'Zoë', :hash, true, 'zoe@example.org'),"
                " (8, 'F', 'L', 'gone', :hash, false, 'gone@example.org'),"
                " (9, 'F', 'L', 'sso', NULL, NULL, 'sso@example.org')"
            ),
            {"hash": SCRYPT},
        )
        connection.execute(text("INSERT INTO ab_user_role (user_id, role_id) VALUES (7, 2), (7, 1)"))
    engine.dispose()
    yield url.render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


@pytest.fixture
def directory(database: str) -> Iterator[AirflowDatabaseDirectory]:
    directory = AirflowDatabaseDirectory(database)
    yield directory
    directory.close()


@pytest.mark.parametrize("typed", ["Zoë", "zoë", "ZOË", "zoe@example.org"])
def test_a_user_is_found_by_name_without_case_or_by_email(typed: str, directory: AirflowDatabaseDirectory) -> None:
    user = directory.find(typed)

    assert user is not None
    assert user == DirectoryUser(
        "Zoë", password_hash=SCRYPT, email="zoe@example.org", roles=("Admin", "Viewer"), upstream_id="7"
    )
    assert check_hash(user.password_hash, "pässword")


@pytest.mark.parametrize("typed", ["nobody", "Zoe@example.org", "' OR 1=1 --", "zo%", "a\0b", ""])
def test_no_other_spelling_finds_anybody(typed: str, directory: AirflowDatabaseDirectory) -> None:
    assert directory.find(typed) is None


@pytest.mark.parametrize("name", ["gone", "sso"])
def test_a_user_who_is_not_active_is_known_as_such(name: str, directory: AirflowDatabaseDirectory) -> None:
    user = directory.find_by_username(name)

    assert user is not None
    assert user.active is False


def test_the_session_cannot_write(directory: AirflowDatabaseDirectory) -> None:
    directory.find("zoë")

    with directory._connect() as connection, pytest.raises(SQLAlchemyError, match="read-only transaction"):
        connection.execute(text("UPDATE ab_user SET login_count = 1"))


def test_a_connection_that_the_server_has_cut_is_replaced(directory: AirflowDatabaseDirectory, database: str) -> None:
    directory.find("zoë")
    other = create_engine(database)
    with other.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    other.dispose()

    assert directory.find("zoë") is not None


def test_a_locked_table_is_unavailable_and_does_not_hold_the_caller(
    directory: AirflowDatabaseDirectory, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow_db, "STATEMENT_TIMEOUT_S", 1)
    other = create_engine(database)

    with other.begin() as connection:
        connection.execute(text("LOCK TABLE ab_user IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(BackendUnavailable, match="OperationalError"):
            directory.find("zoë")
    other.dispose()

    assert directory.find("zoë") is not None


def test_the_decoy_is_like_the_users_hashes(directory: AirflowDatabaseDirectory) -> None:
    assert directory.decoy().startswith("scrypt:32768:8:1$")

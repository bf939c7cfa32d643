"""A database with Airflow's users, for the directory that reads it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from werkzeug.security import generate_password_hash

from compat_auth_backends.directories.airflow_db import AirflowDatabaseDirectory

# As Airflow 3.3 with FAB creates them; Airflow 2 has no COLLATE and shorter strings.
TABLES = """
CREATE TABLE ab_role (id INTEGER NOT NULL, name VARCHAR(64) NOT NULL, PRIMARY KEY (id), UNIQUE (name));
CREATE TABLE ab_user (
    id INTEGER NOT NULL, first_name VARCHAR(256) NOT NULL, last_name VARCHAR(256) NOT NULL,
    username VARCHAR(512) {collate} NOT NULL, password VARCHAR(256), active BOOLEAN, email VARCHAR(512) NOT NULL,
    last_login DATETIME, login_count INTEGER, fail_login_count INTEGER, created_on DATETIME, changed_on DATETIME,
    created_by_fk INTEGER, changed_by_fk INTEGER, PRIMARY KEY (id), UNIQUE (username), UNIQUE (email));
CREATE TABLE ab_user_role (
    id INTEGER NOT NULL, user_id INTEGER, role_id INTEGER, PRIMARY KEY (id), UNIQUE (user_id, role_id));
INSERT INTO ab_role VALUES (1, 'Admin'), (2, 'Viewer'), (3, 'Op');
"""
SCRYPT = generate_password_hash("pässword")
OLD = generate_password_hash("pässword", "pbkdf2:sha256:50000")
Row = tuple[int, str, str | None, bool | None, str]
Make = Callable[..., AirflowDatabaseDirectory]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "airflow #1.db"


@pytest.fixture
def make(database: Path) -> Make:
    def make_directory(
        *users: Row, roles: tuple[tuple[int, int], ...] = (), collate: str = ""
    ) -> AirflowDatabaseDirectory:
        with closing(sqlite3.connect(database)) as connection:
            connection.executescript(TABLES.format(collate=collate))
            connection.executemany(
                "INSERT INTO ab_user (id, first_name, last_name, username, password, active, email)"
                " VALUES (?, 'F', 'L', ?, ?, ?, ?)",
                users,
            )
            connection.executemany("INSERT INTO ab_user_role (user_id, role_id) VALUES (?, ?)", roles)
            connection.commit()
        return AirflowDatabaseDirectory(url_of(database))

    return make_directory


def url_of(database: Path) -> str:
    return f"sqlite:///{database}"


ADMIN: Row = (7, "Admin", SCRYPT, True, "admin@example.org")

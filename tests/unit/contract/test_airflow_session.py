"""session, by the cookie of Airflow's own UI, held to what every backend must do."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgpack
import pytest
from itsdangerous import Signer

from compat_auth.backend import Backend
from compat_auth.config import parse_settings
from compat_auth.testing import BackendContract, Headers
from compat_auth_backends.session import SessionBackend

KEY = "airflow's own secret key"
TABLES = """
CREATE TABLE ab_role (id INTEGER PRIMARY KEY, name VARCHAR(64));
CREATE TABLE ab_user (id INTEGER PRIMARY KEY, username VARCHAR(512), password VARCHAR(256), active BOOLEAN, email VARCHAR);
CREATE TABLE ab_user_role (id INTEGER PRIMARY KEY, user_id INTEGER, role_id INTEGER);
CREATE TABLE session (id INTEGER PRIMARY KEY, session_id VARCHAR(255) UNIQUE, data BLOB, expiry DATETIME);
INSERT INTO ab_user VALUES (7, 'alice', '', 1, 'alice@example.org'), (8, 'disabled', '', 0, 'd@example.org');
"""
# By session id: the user's number, and the days for which it lives.
SESSIONS = {"of-alice": ("7", 1), "of-disabled": ("8", 1), "of-nobody": ("99", 1), "expired": ("7", -1)}


class TestAirflowSession(BackendContract, has_source=True):
    path: Path

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        self.path = tmp_path / "airflow.db"
        now = datetime.now(UTC).replace(tzinfo=None)
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            database.executescript(TABLES)
            database.executemany(
                "INSERT INTO session (session_id, data, expiry) VALUES (?, ?, ?)",
                [
                    (name, msgpack.packb({"_user_id": user, "_fresh": True}), f"{now + timedelta(days=days)}")
                    for name, (user, days) in SESSIONS.items()
                ],
            )
            database.commit()
        content = {"airflow_db": {"url": f"sqlite:///{self.path}"}, "airflow_session": {"secret_key": KEY}}
        return SessionBackend(parse_settings({**content, "auth_backends": ["session"]}, origin="test"))

    def good(self) -> Headers:
        return self.cookie_of("of-alice")

    def bad(self) -> dict[str, Headers]:
        return {
            "disabled": self.cookie_of("of-disabled"),
            "unknown user": self.cookie_of("of-nobody"),
            "expired": self.cookie_of("expired"),
            "unknown session": self.cookie_of("of-nothing"),
            "another key": self.cookie_of("of-alice", key="another key"),
            "beside another credential": {**self.cookie_of("of-alice"), "Authorization": "Bearer e30.e30.e30"},
        }

    def cookie_of(self, name: str, *, key: str = KEY) -> dict[str, str]:
        signed = Signer(key, salt="flask-session", key_derivation="hmac").sign(name)
        return {"Cookie": f"session={signed.decode()}"}

    @contextlib.contextmanager
    def break_source(self) -> Generator[None]:
        away = self.path.rename(self.path.with_suffix(".away"))
        yield
        away.rename(self.path)

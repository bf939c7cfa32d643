"""basic_auth over each directory of hashes, held to what every backend must do."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Generator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from compat_auth.authn.passwords import checker
from compat_auth.authn.passwords.hash_pool import HashPool
from compat_auth.authn.passwords.hashes import check_hash
from compat_auth.backend import Backend
from compat_auth.directory import Directory
from compat_auth.testing import BackendContract, Headers
from compat_auth_backends.basic_auth import BasicAuthBackend
from compat_auth_backends.directories.airflow_db import AirflowDatabaseDirectory
from compat_auth_backends.directories.htpasswd import HtpasswdDirectory
from support.stand_ins import basic

HASH = bcrypt.hashpw("pässwörd".encode(), bcrypt.gensalt(4)).decode()
TABLES = """
CREATE TABLE ab_role (id INTEGER PRIMARY KEY, name VARCHAR(64));
CREATE TABLE ab_user (id INTEGER PRIMARY KEY, username VARCHAR(512), password VARCHAR(256), active BOOLEAN,
    email VARCHAR(512));
CREATE TABLE ab_user_role (id INTEGER PRIMARY KEY, user_id INTEGER, role_id INTEGER);
"""


class Passwords(BackendContract):
    directory: Directory
    path: Path

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        pool = HashPool(2, max_waiting=64)
        self.path = tmp_path / "users"
        self.directory = self.make_directory()
        return BasicAuthBackend((self.directory,), pool=pool)

    def make_directory(self) -> Directory:
        raise NotImplementedError("override make_directory()")

    def good(self) -> Headers:
        return {"Authorization": basic("alice", "pässwörd")}

    def bad(self) -> dict[str, Headers]:
        return {
            "wrong": {"Authorization": basic("alice", "wrong")},
            "unknown": {"Authorization": basic("nobody", "pässwörd")},
            "disabled": {"Authorization": basic("disabled", "pässwörd")},
        }

    def count_work(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        hashes: list[Any] = []

        def count(stored: str, password: str) -> bool:
            hashes.append(stored[:7])
            return check_hash(stored, password)

        monkeypatch.setattr(checker, "check_hash", count)
        return hashes

    @contextlib.contextmanager
    def break_source(self) -> Generator[None]:
        away = self.path.rename(self.path.with_suffix(".away"))
        yield
        away.rename(self.path)


class TestHtpasswd(Passwords, has_source=True, counts_work=True):
    def make_directory(self) -> Directory:
        self.path.write_text(f"alice:{HASH}\ndisabled:!{HASH}\n", encoding="utf-8")
        # Looks at the file anew for each request: the test does not wait for the half second.
        ticks = iter(range(10**6))
        return HtpasswdDirectory(self.path, monotonic=lambda: float(next(ticks)))


class TestAirflowDatabase(Passwords, counts_work=True):
    def make_directory(self) -> Directory:
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(TABLES)
            connection.executemany(
                "INSERT INTO ab_user (username, password, active, email) VALUES (?, ?, ?, ?)",
                [("alice", HASH, True, "alice@example.org"), ("disabled", HASH, False, "disabled@example.org")],
            )
            connection.commit()
        return AirflowDatabaseDirectory(f"sqlite:///{self.path}")

"""The cookie of Airflow's own UI, from either version and either way of keeping sessions."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import flask
import msgpack
import pytest
from flask.json.tag import TaggedJSONSerializer
from itsdangerous import Signer, URLSafeTimedSerializer

from compat_auth.config import Settings, parse_settings
from compat_auth.credentials import Absent
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth_backends.session import REUSE_S, SessionBackend

KEY = "airflow's own secret key"
NOW = datetime.now(UTC)
TABLES = """
CREATE TABLE ab_role (id INTEGER PRIMARY KEY, name VARCHAR(64));
CREATE TABLE ab_user (id INTEGER PRIMARY KEY, username VARCHAR(512), password VARCHAR(256), active BOOLEAN, email VARCHAR);
CREATE TABLE ab_user_role (id INTEGER PRIMARY KEY, user_id INTEGER, role_id INTEGER);
CREATE TABLE session (id INTEGER PRIMARY KEY, session_id VARCHAR(255) UNIQUE, data BLOB, expiry DATETIME);
INSERT INTO ab_role VALUES (1, 'Viewer');
INSERT INTO ab_user VALUES (7, 'alice', '', 1, 'alice@example.org'), (8, 'disabled', '', 0, 'd@example.org');
INSERT INTO ab_user_role VALUES (1, 7, 1);
"""
ALICE = Identity("alice", "session", "alice", "airflow_db", "alice@example.org", ("Viewer",), upstream_id="7")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "airflow.db")
    connection.executescript(TABLES)
    yield connection
    connection.close()


@pytest.fixture
def settings(tmp_path: Path, database: sqlite3.Connection) -> Settings:
    content = {"airflow_db": {"url": f"sqlite:///{tmp_path / 'airflow.db'}"}, "airflow_session": {"secret_key": KEY}}
    return parse_settings({**content, "auth_backends": ["session"]}, origin="test")


@pytest.fixture
def backend(settings: Settings) -> Iterator[SessionBackend]:
    backend = SessionBackend(settings)
    yield backend
    assert backend._airflow is not None
    backend._airflow._directory.close()


def pack(content: dict[str, Any]) -> bytes:
    return cast("bytes", cast("Any", msgpack).packb(content))


def tagged(content: dict[str, Any]) -> bytes:
    return TaggedJSONSerializer().dumps(content).encode()


def stored(database: sqlite3.Connection, data: bytes, *, ends: timedelta = timedelta(days=1), key: str = KEY) -> str:
    expiry = (NOW + ends).replace(tzinfo=None).isoformat(" ")
    database.execute("INSERT INTO session (session_id, data, expiry) VALUES ('sid', ?, ?)", (data, expiry))
    database.commit()
    return Signer(key, salt="flask-session", key_derivation="hmac").sign(b"sid").decode()


def signed(content: object, key: str = KEY, salt: str = "cookie-session") -> str:
    serializer = URLSafeTimedSerializer(
        key, salt=salt, serializer=TaggedJSONSerializer(), signer_kwargs={"key_derivation": "hmac"}
    )
    return str(serializer.dumps(content))


def judge(backend: SessionBackend, *cookies: str, method: str = "GET", **headers: str) -> Outcome:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    sent["Cookie"] = "; ".join(f"session={cookie}" for cookie in cookies)
    with flask.Flask("test").test_request_context("/", "http://gateway", method=method, headers=sent):
        return backend.authenticate(Absent())


@pytest.mark.parametrize("write", [pytest.param(tagged, id="airflow-2"), pytest.param(pack, id="airflow-3")])
def test_a_session_in_airflows_database_vouches_for_its_user(
    backend: SessionBackend, database: sqlite3.Connection, write: Any
) -> None:
    cookie = stored(database, write({"_permanent": True, "_fresh": True, "_user_id": "7", "csrf_token": "x"}))

    assert judge(backend, cookie) == Accept(ALICE, reusable_s=REUSE_S)


def test_a_session_in_the_cookie_itself_does_so_too(backend: SessionBackend) -> None:
    assert judge(backend, signed({"_user_id": "7"})) == Accept(ALICE, reusable_s=REUSE_S)


def test_a_disabled_user_is_refused(backend: SessionBackend) -> None:
    outcome = judge(backend, signed({"_user_id": "8"}))

    assert isinstance(outcome, Reject)
    assert outcome.status == 403


def test_an_expired_row_is_nobodys(backend: SessionBackend, database: sqlite3.Connection) -> None:
    cookie = stored(database, pack({"_user_id": "7"}), ends=timedelta(seconds=-1))

    assert judge(backend, cookie) == Skip()


def test_a_row_that_airflow_has_deleted_is_nobodys(backend: SessionBackend, database: sqlite3.Connection) -> None:
    cookie = stored(database, pack({"_user_id": "7"}))
    database.execute("DELETE FROM session")
    database.commit()

    assert judge(backend, cookie) == Skip()


def test_a_signed_cookie_ends_with_its_lifetime(settings: Settings) -> None:
    section = settings.airflow_session.model_copy(update={"lifetime_s": -1})
    backend = SessionBackend(settings.model_copy(update={"airflow_session": section}))

    assert judge(backend, signed({"_user_id": "7"})) == Skip()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"_user_id": null}',
        b'{"_user_id": ["7"]}',
        b'{"_user_id": true}',
        b'{"_user_id": "7 OR 1=1"}',
        b'{"_user_id": "9"}',
        b'{"_user_id": ""}',
        json.dumps({"_user_id": "9" * 40}).encode(),
        json.dumps({"_user_id": "\u0667"}).encode(),
        b"\x81",
        b"\xc1",
    ],
)
def test_what_is_stored_but_names_nobody_is_nobodys(
    backend: SessionBackend, database: sqlite3.Connection, data: bytes
) -> None:
    assert judge(backend, stored(database, data)) == Skip()


def test_a_cookie_of_another_key_is_nobodys(backend: SessionBackend, database: sqlite3.Connection) -> None:
    assert judge(backend, stored(database, pack({"_user_id": "7"}), key="guessed")) == Skip()
    assert judge(backend, signed({"_user_id": "7"}, key="guessed")) == Skip()
    assert judge(backend, signed({"_user_id": "7"}, salt="other")) == Skip()
    assert judge(backend, "sid") == Skip()
    assert judge(backend, "") == Skip()


def test_two_cookies_are_nobodys(backend: SessionBackend) -> None:
    assert judge(backend, signed({"_user_id": "7"}), signed({"_user_id": "7"})) == Skip()


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}])
def test_another_site_cannot_use_it(backend: SessionBackend, headers: dict[str, str]) -> None:
    outcome = judge(backend, signed({"_user_id": "7"}), method="POST", **headers)

    assert isinstance(outcome, Reject)
    assert outcome.status == 403


def test_a_program_may_use_it_as_it_could_with_airflow_2(backend: SessionBackend) -> None:
    assert judge(backend, signed({"_user_id": "7"}), method="PATCH") == Accept(ALICE, reusable_s=REUSE_S)


def test_a_database_that_is_down_is_nobodys_way_in(
    backend: SessionBackend, database: sqlite3.Connection, tmp_path: Path
) -> None:
    cookie = stored(database, pack({"_user_id": "7"}))
    database.execute("DROP TABLE session")
    database.commit()

    with pytest.raises(BackendUnavailable):
        judge(backend, cookie)


def test_a_key_without_msgpack_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)
    settings = parse_settings({"airflow_session": {"secret_key": KEY}}, origin="test")

    with pytest.raises(ConfigError, match="with its extra 'airflow-session'"):
        SessionBackend(settings)


def test_a_key_without_airflows_database_is_an_error() -> None:
    settings = parse_settings({"airflow_session": {"secret_key": KEY}}, origin="test")

    with pytest.raises(ConfigError, match="airflow_db"):
        SessionBackend(settings)

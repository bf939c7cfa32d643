"""What each backend of Airflow 2 answers by itself, as a table, in both modes.

`airflow` is the status of Airflow 2.10 and 2.11 with AUTH_ROLE_PUBLIC unset; where ours differs on purpose, `why` says so.
Who is asked is a view of a Flask app, so that nothing but the backend and the chain speaks; basic_auth and kerberos have
tables of their own.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import flask
import msgpack
import pytest
from itsdangerous import Signer

from compat_auth.authn.chain import Mode
from compat_auth.config import Settings, parse_settings
from compat_auth.extension import CompatAuth, current_identity, requires_authentication
from compat_auth.net.https_client import Endpoint, EndpointAnswer
from support.stand_ins import basic
from support.stub_issuer import OTHER_RSA_KEY, StubIssuer, sign

KEY = "airflow's own secret key"
TABLES = """
CREATE TABLE ab_role (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE ab_user_role (id INTEGER PRIMARY KEY, user_id INTEGER, role_id INTEGER);
CREATE TABLE ab_user (id INTEGER PRIMARY KEY, username TEXT, password TEXT, active BOOLEAN, email TEXT);
CREATE TABLE session (id INTEGER PRIMARY KEY, session_id TEXT UNIQUE, data BLOB, expiry DATETIME);
INSERT INTO ab_user VALUES (1, 'alice', '', 1, 'alice@example.org'), (2, 'disabled', '', 0, 'disabled@example.org');
"""
SESSIONS = {"alice": ("1", 1), "disabled": ("2", 1), "expired": ("1", -1)}
Headers = dict[str, str]
Present = Callable[[StubIssuer], Headers]


@dataclass(frozen=True, slots=True)
class Row:
    """One request to one backend.

    Attributes:
        backend: The whole list.
        name: For people.
        present: Makes the headers.
        answer: Status in both modes.
        airflow: Status of Airflow 2.
        strict: Status in strict mode, where it is another.
        why: Why our answer in mode airflow2 is not Airflow's.
    """

    backend: str
    name: str
    present: Present
    answer: int
    airflow: int
    strict: int = 0
    why: str = ""

    def expected(self, mode: Mode) -> int:
        """Return the status in a mode."""
        return self.strict if self.strict and mode == "strict" else self.answer


def nothing(_: StubIssuer) -> Headers:
    return {}


def password(_: StubIssuer) -> Headers:
    return {"Authorization": basic("alice", "wrong")}


def cookie(name: str, *, key: str = KEY, **more: str) -> Present:
    signed = Signer(key, salt="flask-session", key_derivation="hmac").sign(name).decode()
    return lambda _: {"Cookie": f"session={signed}", **more}


def google(scheme: str = "Bearer", *, ends_s: int = 600, key: Any = None, **changed: object) -> Present:
    def present(issuer: StubIssuer) -> Headers:
        # A subject is linked to its first user: each address has one of its own.
        email = changed.get("email", "alice@example.org")
        claims: dict[str, object] = {
            "iss": "https://accounts.google.com", "aud": "web", "sub": f"sub of {email}", "email": "alice@example.org",
            "email_verified": True, "exp": int(time.time()) + ends_s, "iat": int(time.time()) + ends_s - 600,
        }  # fmt: skip
        token = sign(issuer.claims(**{**claims, **changed}), typ="JWT", **({"key": key} if key else {}))
        return {"Authorization": f"{scheme} {token}"}

    return present


def text(value: str) -> Present:
    return lambda _: {"Authorization": value}


NOBODY = "a credential that is presented and wrong is never turned into nobody"
STRICT_CLAIM = "only the truth value itself is a verified address"
TABLE = (
    Row("default", "nothing", nothing, 403, 403),
    Row("default", "wrong password", password, 401, 403, why=NOBODY),
    Row("deny_all", "nothing", nothing, 401, 401, strict=403),
    Row("deny_all", "password", password, 401, 401, strict=403),
    Row("deny_all", "cookie", cookie("alice"), 401, 401, strict=403),
    Row("session", "nothing", nothing, 401, 401),
    Row("session", "cookie", cookie("alice"), 200, 200),
    Row("session", "cookie of a disabled user", cookie("disabled"), 401, 401, strict=403),
    Row("session", "cookie that has expired", cookie("expired"), 401, 401),
    Row("session", "cookie of another Airflow", cookie("alice", key="another key"), 401, 401),
    Row("session", "password", password, 401, 401),
    Row(
        "session", "cookie and wrong password", cookie("alice", Authorization=basic("alice", "wrong")), 401, 200,
        why="an explicit credential beats a cookie",
    ),
    Row("google_openid", "nothing", nothing, 401, 401),
    Row("google_openid", "good", google(), 200, 200),
    Row("google_openid", "issuer without a scheme", google(iss="accounts.google.com"), 200, 200),
    Row("google_openid", "lower-case scheme", google("bearer"), 200, 200),
    Row("google_openid", "two spaces", google("Bearer "), 200, 401, why="RFC 9110 11.4 allows several"),
    Row("google_openid", "audience in a list", google(aud=["web"]), 200, 401, why="RFC 7519 4.1.3 allows it"),
    Row("google_openid", "ended a moment ago", google(ends_s=-3), 200, 401, why="clocks differ"),
    Row("google_openid", "ended long ago", google(ends_s=-600), 401, 401),
    Row("google_openid", "another audience", google(aud="other"), 401, 401),
    Row("google_openid", "another key", google(key=OTHER_RSA_KEY), 401, 401),
    Row("google_openid", "another issuer", google(iss="https://example.org"), 401, 401),
    Row("google_openid", "address not verified", google(email_verified=False), 401, 401),
    Row("google_openid", "address verified in words", google(email_verified="true"), 401, 200, why=STRICT_CLAIM),
    Row("google_openid", "no address", google(email=None), 401, 401),
    Row("google_openid", "unknown user", google(email="nobody@example.org"), 401, 401, strict=403),
    Row("google_openid", "disabled user", google(email="disabled@example.org"), 401, 401, strict=403),
    Row("google_openid", "address in capitals", google(email="ALICE@example.org"), 401, 401, strict=403),
    Row("google_openid", "not a token", text("Bearer a.b.c"), 401, 500, why="a caller's mistake is no accident of ours"),
    Row("google_openid", "no value", text("Bearer"), 401, 401),
    Row("google_openid", "password", password, 401, 401),
)  # fmt: skip


@pytest.fixture(scope="module")
def issuer() -> Iterator[StubIssuer]:
    stub = StubIssuer("http://127.0.0.1:9")
    published = EndpointAnswer(200, {}, json.dumps({"keys": stub.keys}).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Endpoint, "get", lambda _endpoint, _headers=None: published)
        yield stub


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("airflow") / "airflow.db"
    now = datetime.now(UTC).replace(tzinfo=None)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(TABLES)
        connection.executemany(
            "INSERT INTO session (session_id, data, expiry) VALUES (?, ?, ?)",
            [
                (name, msgpack.packb({"_user_id": user, "_fresh": True}), f"{now + timedelta(days=days)}")
                for name, (user, days) in SESSIONS.items()
            ],
        )
        connection.commit()
    return path


def settings_for(database: Path, issuer: StubIssuer, backend: str, mode: Mode) -> Settings:
    return parse_settings(
        {
            "auth_backends": [backend],
            "mode": mode,
            "database_url": f"sqlite:///{database.with_name('state.db')}",
            "airflow2": {"auth_role_public": ""},
            "airflow_db": {"url": f"sqlite:///{database}"},
            "airflow_session": {"secret_key": KEY},
            "google_openid": {"audience": ["web"], "jwks_url": f"{issuer.url}/jwks"},
        },
        origin="table",
    )


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.backend}-{row.name}")
@pytest.mark.parametrize("mode", ["strict", "airflow2"])
def test_each_backend_answers_as_the_table_says(database: Path, issuer: StubIssuer, mode: Mode, row: Row) -> None:
    app = flask.Flask("third party")
    CompatAuth(app, settings_for(database, issuer, row.backend, mode))
    app.add_url_rule("/x", view_func=requires_authentication(lambda: current_identity.username), endpoint="x")

    answer = app.test_client(use_cookies=False).get("/x", headers=row.present(issuer))

    expected = row.expected(mode)
    invited = mode == "strict" and expected == 401 and row.backend == "google_openid"
    assert answer.status_code == expected, answer.text
    assert [value.split()[0] for value in answer.headers.getlist("WWW-Authenticate")] == (["Bearer"] if invited else [])
    if expected == 200:
        assert answer.text == "alice"
    else:
        assert ("Errors/" in json.loads(answer.data)["type"]) == (mode == "airflow2")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.backend}-{row.name}")
def test_every_difference_from_airflow_2_has_its_reason(row: Row) -> None:
    assert bool(row.why) == (row.expected("airflow2") != row.airflow)

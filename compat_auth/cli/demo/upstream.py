"""The demo's parts: users, database, settings, and an embedded upstream that accepts only our JWT.

All files are in a temporary folder: an SQLite database with Airflow's user tables, and a signing key. The only network
is the loopback interface.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from werkzeug.security import generate_password_hash

from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.cli.demo.received_page import ReceivedPage
from compat_auth.config import Settings, parse_settings
from compat_auth.errors import InvalidToken
from compat_auth.gateway.health import JWKS_PATH
from compat_auth.gateway.server.server import uvicorn_config
from compat_auth.http.asgi import Receive, Scope, Send, respond, respond_rendered
from compat_auth.http.error_responses import ErrorStyle
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream
from compat_auth.tokens.jose.jwk import VerifyingKey, verifying_key
from compat_auth.tokens.jose.jwt import verify
from compat_auth.tokens.keys.keys import create_keys

AUDIENCE = "demo-upstream"
WHOAMI_PATH = "/api/whoami"
_START_S = 10
# The tables that the directory airflow_db reads (Flask-AppBuilder's models).
_TABLES = """
CREATE TABLE ab_user (id INTEGER PRIMARY KEY, username TEXT, email TEXT, password TEXT, active BOOLEAN);
CREATE TABLE ab_role (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE ab_user_role (id INTEGER PRIMARY KEY, user_id INTEGER, role_id INTEGER);
INSERT INTO ab_role VALUES (1, 'Admin'), (2, 'Viewer');
"""


@dataclass(frozen=True, slots=True)
class DemoUser:
    """A user of the demo; the demo prints the password, so each start creates a new one."""

    name: str
    role_id: int
    password: str = field(repr=False)


def create_users() -> tuple[DemoUser, ...]:
    """Return new users for one run of the demo."""
    return tuple(DemoUser(name, role, secrets.token_hex(6)) for name, role in (("alice", 1), ("bob", 2)))


def write_database(path: Path, users: tuple[DemoUser, ...]) -> None:
    """Create the SQLite database with the users, in Airflow's tables."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(_TABLES)
        for number, user in enumerate(users, start=1):
            row = (number, user.name, f"{user.name}@example.com", generate_password_hash(user.password))
            database.execute("INSERT INTO ab_user VALUES (?, ?, ?, ?, 1)", row)
            database.execute("INSERT INTO ab_user_role VALUES (?, ?, ?)", (number, number, user.role_id))
        database.commit()


def write_demo(folder: Path, upstream_url: str) -> tuple[Settings, tuple[DemoUser, ...]]:
    """Create the demo's files in the folder; return its settings and users."""
    users = create_users()
    write_database(folder / "airflow.db", users)
    create_keys(folder / "keys.json", algorithm="EdDSA", now=int(time.time()))
    content = {
        "auth_backends": ["session", "basic_auth", "personal_token"],
        "database_url": f"sqlite:///{folder / 'compat_auth.db'}",
        "upstream": {"url": upstream_url, "profile": "generic"},
        "token": {
            "strategy": "key_pair",
            "key_file": str(folder / "keys.json"),
            "audience": AUDIENCE,
            "claims": {"email": "{email}", "roles": "{roles}", "backend": "{backend}"},
        },
        "session": {"secret": secrets.token_urlsafe(48)},
        "basic_auth": {"directories": ["airflow_db"]},
        "airflow_db": {"url": f"sqlite:///{folder / 'airflow.db'}"},
    }
    return parse_settings(content, origin="demo"), users


class Upstream:
    """An API that accepts only a JWT, verified by the gateway's public keys; an ASGI application.

    Attributes:
        jwks_url: URL of the keys; fetched at most once a minute.
    """

    def __init__(self) -> None:
        self.jwks_url = ""
        self._keys: Mapping[str, VerifyingKey] = {}
        self._fetched_at = -60.0
        self._page = ReceivedPage()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `GET /api/whoami` with the verified claims and the received headers, and `/` with a page about them."""
        del receive
        if scope["type"] != "http":
            return
        if scope["path"] == "/":
            page = self._page.render()
            await respond(send, 200, page, content_type=b"text/html; charset=utf-8", headers=[*self._page.headers])
            return
        if scope["path"] != WHOAMI_PATH:
            await respond_rendered(
                send,
                ErrorStyle().render(
                    404, detail=f"the demo has only {WHOAMI_PATH}, and for browsers / and /compat-auth/"
                ),
            )
            return
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        try:
            claims = await self._verify(dict(headers).get("authorization", ""))
        except InvalidToken as error:
            response = ErrorStyle().render(401, ('Bearer error="invalid_token"',), detail=str(error))
            await respond_rendered(send, response)
            return
        self._page.add(f"{scope['method']} {scope['path']}", claims)
        body = json.dumps({"claims": claims, "headers": dict(headers)}, indent=2).encode() + b"\n"
        await respond(send, 200, body, content_type=b"application/json")

    async def _verify(self, authorization: str) -> dict[str, Any]:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise InvalidToken("no Bearer token")
        if time.monotonic() - self._fetched_at > 60:
            self._keys = await asyncio.to_thread(self._fetch)
            self._fetched_at = time.monotonic()
        return verify(token, self._keys, audience=AUDIENCE, issuer=None, now=time.time())

    def _fetch(self) -> Mapping[str, VerifyingKey]:
        with urllib.request.urlopen(self.jwks_url, timeout=5) as answer:  # noqa: S310  # our own loopback address
            keys = [verifying_key(jwk) for jwk in json.load(answer)["keys"]]
        return {key.kid: key for key in keys}


class BackgroundServer:
    """A uvicorn server in a thread, while the `with` block runs."""

    def __init__(self, app: Any, *listeners: socket.socket) -> None:
        self._server = uvicorn.Server(uvicorn_config(app, lifespan="auto"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [*listeners]}, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()
        deadline = time.monotonic() + _START_S
        while not self._server.started and time.monotonic() < deadline:
            time.sleep(0.01)

    def __exit__(self, *_exc_info: object) -> None:
        self._server.should_exit = True
        self._thread.join(_START_S)


def make_token(settings: Settings, user: DemoUser) -> str:
    """Return a personal token of a user, for a day."""
    tokens = PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream)
    try:
        return tokens.create(user.name, PersonalTokenRequest("demo", days=1), by="demo").text
    finally:
        tokens.rows.database.close()


def curl_lines(users: tuple[DemoUser, ...], token: str, url: str) -> list[str]:
    """Return a command for each backend, in the order in which they succeed."""
    return [
        f"curl -u {users[0].name}:{users[0].password} {url}{WHOAMI_PATH}",
        f"curl -H 'Authorization: Bearer {token}' {url}{WHOAMI_PATH}",
        f"curl -u {users[0].name}:{token} {url}{WHOAMI_PATH}",
    ]


def jwks_url(gateway_url: str) -> str:
    """Return the URL of the gateway's public keys."""
    return gateway_url + JWKS_PATH

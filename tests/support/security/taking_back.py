"""A whole gateway whose tokens can be taken back, asked from outside."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import bcrypt

from compat_auth.app import Gateway
from compat_auth.config import parse_settings
from compat_auth.tokens.keys.keys import create_keys
from support.security.upstream import Recorder
from support.stand_ins import Sent, basic, call, http_scope

FORM = (b"content-type", b"application/x-www-form-urlencoded")
USERS = {"alice": "wonder", "bob": "builder", "seer": "sees"}


@dataclass
class GatewayUnderTest:
    """The gateway and what stands behind it."""

    gateway: Gateway
    upstream: Recorder
    folder: Path
    content: dict[str, Any] = field(default_factory=dict[str, Any])

    async def post(self, path: str, form: dict[str, str], *headers: tuple[bytes, bytes]) -> Sent:
        body = urlencode(form).encode()
        return await call(self.gateway, http_scope(path.encode(), [FORM, *headers], method="POST"), body)

    async def get(self, path: str = "/api/v2/dags", *headers: tuple[bytes, bytes]) -> Sent:
        return await call(self.gateway, http_scope(path.encode(), list(headers)))

    async def token_of(self, username: str) -> str:
        sent = await self.post("/auth/token", {"username": username, "password": USERS[username]})
        assert sent.status == 201, sent.body
        return str(json.loads(sent.body)["access_token"])

    async def revoke(self, token: str) -> int:
        return (await self.post("/compat-auth/revoke", {"token": token})).status

    async def introspect(self, token: str, username: str) -> dict[str, Any]:
        sent = await self.post("/compat-auth/introspect", {"token": token}, as_user(username))
        assert sent.status == 200, sent.body
        found: dict[str, Any] = json.loads(sent.body)
        return found


def as_user(username: str) -> tuple[bytes, bytes]:
    return (b"authorization", basic(username, USERS[username]).encode())


def bearer(token: str) -> tuple[bytes, bytes]:
    return (b"authorization", f"Bearer {token}".encode())


def cookie(value: str) -> tuple[bytes, bytes]:
    return (b"cookie", f"theme=dark; _token={value}".encode())


@asynccontextmanager
async def open_instance(tmp_path: Path, upstream: Recorder, /, **changed: Any) -> AsyncGenerator[GatewayUnderTest]:
    """Give a gateway with its store, keys and users in a folder; `changed` are settings of another value."""
    lines = [f"{name}:{bcrypt.hashpw(secret.encode(), bcrypt.gensalt(4)).decode()}" for name, secret in USERS.items()]
    (tmp_path / "htpasswd").write_text("\n".join(lines))
    (tmp_path / "htpasswd").chmod(0o600)
    create_keys(tmp_path / "keys.json", algorithm="EdDSA", now=int(time.time()) - 5)
    content: dict[str, Any] = {
        "auth_backends": ["basic_auth"],
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(tmp_path / "htpasswd")},
        "upstream": {"url": f"http://127.0.0.1:{upstream.port}", "profile": "generic"},
        "token": {"strategy": "key_pair", "key_file": str(tmp_path / "keys.json")},
        "token_endpoint": {"introspect_any_of": ["user:seer"], "failures_per_minute": 1000},
        **changed,
    }
    gateway = Gateway(parse_settings(content, origin="test"))
    await gateway._proxy.open()
    upstream.take()
    yield GatewayUnderTest(gateway, upstream, tmp_path, content)
    gateway._core.decider.close()
    await gateway._proxy.close()

"""Asking about a personal token is no use of it: "last used" and the counts tell its owner what a thief has done."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import bcrypt
import pytest

from compat_auth.app import Gateway
from compat_auth.config import parse_settings
from compat_auth.http.asgi import RawHeaders
from compat_auth.personal_tokens.request import NewToken, PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens
from support.security.upstream import Recorder
from support.stand_ins import Sent, basic, call, http_scope

FORM = (b"content-type", b"application/x-www-form-urlencoded")
ALICE = (b"authorization", basic("alice", "wonder").encode())


@pytest.fixture
async def gateway(tmp_path: Path, upstream: Recorder) -> AsyncIterator[Gateway]:
    password = bcrypt.hashpw(b"wonder", bcrypt.gensalt(4)).decode()
    (tmp_path / "htpasswd").write_text(f"alice:{password}\n")
    (tmp_path / "htpasswd").chmod(0o600)
    content: dict[str, Any] = {
        "auth_backends": ["personal_token", "basic_auth"],
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(tmp_path / "htpasswd")},
        "upstream": {"url": f"http://127.0.0.1:{upstream.port}", "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": "t" * 64},
    }
    gateway = Gateway(parse_settings(content, origin="test"))
    await gateway._proxy.open()
    yield gateway
    gateway._core.decider.close()
    await gateway._proxy.close()


@pytest.fixture
def tokens(gateway: Gateway) -> PersonalTokens:
    assert gateway._core.personal_tokens is not None
    return gateway._core.personal_tokens


@pytest.fixture
def made(tokens: PersonalTokens) -> NewToken:
    return tokens.create("alice", PersonalTokenRequest("script"), by="alice")


async def post(gateway: Gateway, path: str, text: str, *headers: tuple[bytes, bytes]) -> Sent:
    body = urlencode({"token": text}).encode()
    scope = http_scope(path.encode(), [FORM, *headers], method="POST", client="203.0.113.9")
    return await call(gateway, scope, body)


async def introspect(gateway: Gateway, text: str) -> bool:
    sent = await post(gateway, "/compat-auth/introspect", text, ALICE)
    return bool(json.loads(sent.body)["active"])


async def use(gateway: Gateway, text: str) -> int:
    headers: RawHeaders = [(b"authorization", f"Bearer {text}".encode())]
    return (await call(gateway, http_scope(b"/api/v2/dags", headers, client="192.0.2.1"))).status


def uses_of(tokens: PersonalTokens, made: NewToken) -> tuple[int, str]:
    """Return how often the token was used, and from where last."""
    tokens.usage.flush()
    found = tokens.rows.find(made.token.id)
    assert found is not None
    return sum(tokens.usage.by_day(made.token.id).values()), found.last_address


async def test_introspection_is_no_use(gateway: Gateway, tokens: PersonalTokens, made: NewToken) -> None:
    active = [await introspect(gateway, made.text) for _ in range(3)]

    assert active == [True, True, True]
    assert uses_of(tokens, made) == (0, "")


async def test_a_use_counts_once_however_often_it_is_asked_about(
    gateway: Gateway, tokens: PersonalTokens, made: NewToken
) -> None:
    status = await use(gateway, made.text)

    active = [await introspect(gateway, made.text) for _ in range(3)]

    assert (status, active) == (200, [True, True, True])
    assert uses_of(tokens, made) == (1, "192.0.2.1")


async def test_a_use_right_after_an_introspection_is_one(
    gateway: Gateway, tokens: PersonalTokens, made: NewToken
) -> None:
    await introspect(gateway, made.text)

    status = await use(gateway, made.text)

    assert status == 200
    assert uses_of(tokens, made)[0] == 1


async def test_taking_a_token_back_is_no_use(gateway: Gateway, tokens: PersonalTokens, made: NewToken) -> None:
    status = (await post(gateway, "/compat-auth/revoke", made.text)).status

    assert status == 200
    assert await use(gateway, made.text) == 401
    assert uses_of(tokens, made) == (0, "")

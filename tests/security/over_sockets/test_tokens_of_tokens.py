"""What was made from a personal token ends with it, whoever ends it and wherever."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest

from compat_auth.app import Gateway
from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.config import Settings
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream
from support.security.token_gateway import opened
from support.stand_ins import Sent, basic, call, http_scope

PATH = b"/api/v2/dags"
FORM = (b"content-type", b"application/x-www-form-urlencoded")


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with opened(settings) as gateway:
        yield gateway


async def post(gateway: Gateway, path: bytes, form: dict[str, str], authorization: str = "") -> Sent:
    headers = [FORM, *([(b"authorization", authorization.encode())] if authorization else [])]
    return await call(gateway, http_scope(path, headers, method="POST"), urlencode(form).encode())


async def jwt_from(gateway: Gateway, authorization: str) -> str:
    sent = await call(gateway, http_scope(b"/auth/token", [(b"authorization", authorization.encode())], method="POST"))
    assert sent.status == 201, sent.body
    return str(json.loads(sent.body)["access_token"])


async def status(gateway: Gateway, token: str) -> int:
    return (await call(gateway, http_scope(PATH, [(b"authorization", f"Bearer {token}".encode())]))).status


async def until(expected: int, gateway: Gateway, token: str) -> int:
    deadline = time.monotonic() + 1.5
    while (found := await status(gateway, token)) != expected and time.monotonic() < deadline:
        pass
    return found


@pytest.mark.parametrize("end", ["revoke", "revoke_all", "refresh"])
async def test_a_jwt_made_from_a_personal_token_ends_with_it(gateway: Gateway, settings: Settings, end: str) -> None:
    # As the command line does, in another process without a signal between the two.
    elsewhere = PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream)
    made = elsewhere.create("alice", PersonalTokenRequest("script"), by="alice")
    jwt, other = await jwt_from(gateway, f"Bearer {made.text}"), await jwt_from(gateway, basic("alice", "wonder"))
    before = await status(gateway, jwt)

    match end:
        case "revoke":
            elsewhere.revoke(made.token)
        case "revoke_all":
            elsewhere.revoke_all("alice")
        case _:
            elsewhere.refresh(made.token)

    assert (before, await until(401, gateway, jwt), await status(gateway, other)) == (200, 401, 200)


async def test_a_refresh_with_an_overlap_leaves_what_was_made_before(gateway: Gateway, settings: Settings) -> None:
    elsewhere = PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream)
    made = elsewhere.create("alice", PersonalTokenRequest("script"), by="alice")
    jwt = await jwt_from(gateway, f"Bearer {made.text}")

    elsewhere.refresh(made.token, overlap_s=60)

    assert await until(401, gateway, jwt) == 200


async def test_who_has_a_personal_token_may_take_it_back(gateway: Gateway, settings: Settings) -> None:
    elsewhere = PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream)
    made, other = (elsewhere.create("alice", PersonalTokenRequest(name), by="alice") for name in ("script", "another"))
    jwt = await jwt_from(gateway, f"Bearer {made.text}")

    sent = await post(gateway, b"/compat-auth/revoke", {"token": made.text})

    assert (sent.status, sent.body) == (200, b"")
    assert [await status(gateway, token) for token in (made.text, jwt, other.text)] == [401, 401, 200]
    assert [token.name for token in elsewhere.list("alice")] == ["another"]


async def test_a_personal_token_is_described_to_its_owner_with_its_limits(gateway: Gateway, settings: Settings) -> None:
    elsewhere = PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream)
    made = elsewhere.create("alice", PersonalTokenRequest("script", scopes=("GET /api/",)), by="alice")

    sent = await post(gateway, b"/compat-auth/introspect", {"token": made.text}, basic("alice", "wonder"))

    found = json.loads(sent.body)
    assert (found["active"], found["username"], found["scope"]) == (True, "alice", "GET:/api/")
    assert found["exp"] == made.token.expires

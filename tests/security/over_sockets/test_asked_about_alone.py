"""What is said of a token depends on the token: nothing by which the asker is known vouches for it."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from compat_auth.app import Gateway
from support.security.token_gateway import opened, settings_with_tokens
from support.security.upstream import Recorder
from support.stand_ins import Sent, call, http_scope

MODULE = "module_that_knows_services"
SOURCE = """
import flask

def init_app(app):
    pass

def requires_authentication(function):
    def guarded():
        headers, form = flask.request.headers, flask.request.form
        if "service" in (headers.get("X-Api-Key"), headers.get("X-Forwarded-User"), form.get("key")):
            flask.g.user = "alice"
            return function()
        return "no", 401
    return guarded
"""
FORM = (b"content-type", b"application/x-www-form-urlencoded")
ASKERS = {
    "header": ([(b"x-api-key", b"service")], {}),
    "proxy": ([(b"x-forwarded-user", b"service")], {}),
    "body": ([], {"key": "service"}),
}


@pytest.fixture
async def gateway(tmp_path: Path, upstream: Recorder, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    (tmp_path / f"{MODULE}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))  # pyright: ignore[reportUnknownMemberType]  # pytest does not type it
    settings = settings_with_tokens(
        tmp_path, upstream.port, auth_backends=["personal_token", MODULE], trusted_proxies=["192.0.2.1/32"]
    )
    async with opened(settings) as gateway:
        yield gateway
    sys.modules.pop(MODULE, None)


async def post(gateway: Gateway, path: bytes, asker: str, token: str) -> Sent:
    headers, fields = ASKERS[asker]
    body = urlencode({"token": token, **fields}).encode()
    scope = http_scope(path, [FORM, (b"content-length", b"%d" % len(body)), *headers], method="POST")
    return await call(gateway, scope, body)


@pytest.mark.parametrize("token", ["invented", "an.invented.jwt"])
@pytest.mark.parametrize("asker", ASKERS)
async def test_an_invented_token_is_not_active_whoever_asks(gateway: Gateway, asker: str, token: str) -> None:
    sent = await post(gateway, b"/compat-auth/introspect", asker, token)

    assert (sent.status, json.loads(sent.body)) == (200, {"active": False})


@pytest.mark.parametrize("asker", ASKERS)
async def test_an_invented_token_is_not_taken_back(
    gateway: Gateway, asker: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "compat_auth.audit")

    sent = await post(gateway, b"/compat-auth/revoke", asker, "invented")

    assert sent.status == 200
    assert [line for line in caplog.messages if '"revoke"' in line] == []


EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token": "invented",
    "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
}


@pytest.mark.parametrize("form", [EXCHANGE, {"username": "alice", "password": "invented"}], ids=["exchange", "login"])
@pytest.mark.parametrize("asker", ["header", "proxy"])
async def test_a_service_gets_no_token_of_its_own_for_what_somebody_has_shown_to_it(
    gateway: Gateway, asker: str, form: dict[str, str]
) -> None:
    headers, _ = ASKERS[asker]
    body = json.dumps(form).encode() if "username" in form else urlencode(form).encode()
    content_type = (b"content-type", b"application/json") if "username" in form else FORM
    scope = http_scope(b"/auth/token", [content_type, *headers], method="POST")

    sent = await call(gateway, scope, body)

    assert sent.status in (400, 401)
    assert b"access_token" not in sent.body


async def test_a_service_gets_a_token_of_its_own_when_it_asks_for_one(gateway: Gateway) -> None:
    scope = http_scope(b"/auth/token", [(b"x-api-key", b"service")], method="POST")

    sent = await call(gateway, scope)

    assert sent.status == 201

"""What is said of a token depends on the token: nothing by which the asker is known vouches for it."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from compat_auth.app import Gateway
from security.token_gateway import opened, settings_with_tokens
from security.upstream import Recorder
from stand_ins import Sent, call, http_scope

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

"""Personal tokens in a header of their own: two credentials in one request, other spellings, and ways upstream."""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import flask
import pytest

from compat_auth.app import Gateway
from compat_auth.config import Settings
from compat_auth.crypto.personal_token_format import checksum
from compat_auth.errors import ConfigError
from compat_auth.extension import CompatAuth, current_identity, requires_authentication
from support.security.token_gateway import make_token, opened, settings_with_tokens
from support.security.upstream import Recorder
from support.stand_ins import Sent, call, http_scope

DAGS = b"/api/v2/dags"
KEY = b"x-api-key"
FRONT = {"secret": "a-secret-of-the-front-proxy-alone-0123456789"}
Header = tuple[bytes, bytes]


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with opened(settings) as gateway:
        yield gateway


async def ask(gateway: Gateway, *headers: Header, path: bytes = DAGS, method: str = "GET", query: bytes = b"") -> Sent:
    return await call(gateway, http_scope(path, list(headers), method=method, query=query))


def bearer(text: str) -> Header:
    return (b"authorization", b"Bearer " + text.encode())


def basic(username: str, password: str) -> Header:
    return (b"authorization", b"Basic " + base64.b64encode(f"{username}:{password}".encode()))


async def test_a_token_in_the_header_goes_upstream_as_a_jwt_and_the_header_does_not(
    gateway: Gateway, settings: Settings, upstream: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    token = make_token(settings).text

    with caplog.at_level(logging.DEBUG):
        sent = await ask(gateway, (KEY, token.encode()))

    [request] = upstream.take()
    assert sent.status == 200
    assert token not in str(request)
    assert "x-api-key" not in str(request).lower()
    assert token not in caplog.text
    [line] = [record.getMessage() for record in caplog.records if record.name == "compat_auth.audit"]
    assert "alice" in line
    assert "personal_token" in line


@pytest.mark.parametrize(
    "around",
    [
        lambda token: [(KEY, token), (KEY, token)],
        lambda token: [(KEY, token + b"," + token)],
        lambda token: [(KEY, token), (KEY, b"another")],
        lambda token: [(KEY, token), basic("alice", "wonder")],
        lambda token: [(KEY, token), basic("alice", token.decode())],
        lambda token: [(KEY, token), bearer("eyJhbGciOiJub25lIn0.e30.")],
        lambda token: [(KEY, token), (b"authorization", b"Negotiate YII=")],
        lambda token: [(KEY, token), (b"authorization", b"")],
        lambda token: [(KEY, b"Bearer " + token)],
        lambda token: [(KEY, b'"' + token + b'"')],
        lambda token: [(KEY, token.upper())],
        lambda token: [(KEY, token + b"\xff")],
        lambda token: [(b"x_api_key", token)],
        lambda token: [(b"x.api-key", token)],
        lambda token: [(b"x_api_key", token), (KEY, token)],
        lambda token: [(KEY, token[:-1])],
        lambda token: [(KEY, b"cat_pat_")],
    ],
)
async def test_what_could_be_two_credentials_or_none_reaches_nobody(
    gateway: Gateway, settings: Settings, upstream: Recorder, around: Callable[[bytes], list[Header]]
) -> None:
    token = make_token(settings).text.encode()

    sent = await ask(gateway, *around(token))

    assert sent.status in (400, 401)
    assert upstream.take() == []


async def test_the_same_token_in_both_headers_is_one_credential(
    gateway: Gateway, settings: Settings, upstream: Recorder
) -> None:
    token = make_token(settings).text

    sent = await ask(gateway, (KEY, token.encode()), bearer(token))

    assert sent.status == 200
    assert len(upstream.take()) == 1


async def test_a_token_in_the_query_is_no_credential(gateway: Gateway, settings: Settings, upstream: Recorder) -> None:
    query = b"x-api-key=" + make_token(settings).text.encode()

    sent = await ask(gateway, query=query)

    assert sent.status == 401
    assert upstream.take() == []


async def test_a_value_that_is_no_token_of_ours_goes_on_as_before(gateway: Gateway, upstream: Recorder) -> None:
    sent = await ask(gateway, (KEY, b"of-the-application"), basic("alice", "wonder"))

    [request] = upstream.take()
    assert sent.status == 200
    assert "of-the-application" in str(request)


async def test_a_token_limited_by_scopes_is_limited_in_this_header(
    gateway: Gateway, settings: Settings, upstream: Recorder
) -> None:
    token = make_token(settings, "GET /api/v2/pools").text.encode()

    allowed = await ask(gateway, (KEY, token), path=b"/api/v2/pools")
    refused = await ask(gateway, (KEY, token), path=b"/api/v2/pools", method="POST")

    assert (allowed.status, refused.status) == (200, 403)
    assert len(upstream.take()) == 1


async def test_a_token_in_the_header_stays_here_on_a_path_without_a_decision(
    gateway: Gateway, settings: Settings, upstream: Recorder
) -> None:
    token = make_token(settings).text

    await ask(gateway, (KEY, token.encode()), path=b"/static/logo.png")

    assert token not in str(upstream.take())


async def test_guesses_in_the_header_are_throttled(tmp_path: Path, upstream: Recorder) -> None:
    settings = settings_with_tokens(tmp_path, upstream.port, personal_tokens={"failures_per_minute": 2})
    tokens = [make_token(settings, name=str(number)).text for number in range(4)]
    async with opened(settings) as gateway:
        wrong = [token[:20] + tokens[0][20:-6] for token in tokens]
        statuses = [(await ask(gateway, (KEY, _sealed(text)))).status for text in wrong]

    assert 429 in statuses


def _sealed(body: str) -> bytes:
    return (body[:-1] + "0" + checksum(body[:-1] + "0")).encode()


async def test_another_header_can_be_named_and_none(tmp_path: Path, upstream: Recorder) -> None:
    named = settings_with_tokens(tmp_path, upstream.port, personal_tokens={"header": "X-Airflow-Token"})
    none = named.model_copy(update={"personal_tokens": named.personal_tokens.model_copy(update={"header": ""})})
    token = make_token(named).text.encode()

    async with opened(named) as gateway:
        in_the_named = await ask(gateway, (b"x-airflow-token", token))
        in_the_default = await ask(gateway, (KEY, token))
    async with opened(none) as gateway:
        switched_off = await ask(gateway, (KEY, token))

    assert (in_the_named.status, in_the_default.status, switched_off.status) == (200, 401, 401)


@pytest.mark.parametrize(
    "name", ["Authorization", "Cookie", "Accept", "Referer", "X-Forwarded-For", "Sec-WebSocket-Key"]
)
async def test_a_header_with_another_meaning_stops_the_start(tmp_path: Path, upstream: Recorder, name: str) -> None:
    settings = settings_with_tokens(tmp_path, upstream.port, personal_tokens={"header": name})

    with pytest.raises(ConfigError, match=r"\[personal_tokens\] header"):
        Gateway(settings)


async def test_forward_auth_takes_the_token_in_this_header(tmp_path: Path, upstream: Recorder) -> None:
    settings = settings_with_tokens(tmp_path, upstream.port, trusted_proxies=["10.0.0.0/8"], forward_auth=FRONT)
    token = make_token(settings).text.encode()
    told = [(b"x-original-uri", DAGS), (b"x-original-method", b"GET")]
    told.append((b"x-compat-auth-proxy-secret", FRONT["secret"].encode()))
    path = b"/compat-auth/forward-auth/nginx"

    async with opened(settings) as gateway:
        known = await call(gateway, http_scope(path, [*told, (KEY, token)], client="10.0.0.1"))
        both = await call(gateway, http_scope(path, [*told, (KEY, token), basic("bob", "builder")], client="10.0.0.1"))

    assert known.status == 200
    assert dict(known.headers)[b"authorization"].startswith(b"Bearer ")
    assert both.status == 400


@pytest.fixture
def app(settings: Settings) -> flask.Flask:
    app = flask.Flask("third party")
    app.config["COMPAT_AUTH"] = settings
    CompatAuth(app)

    @app.route("/guarded", methods=["GET", "POST"])
    @requires_authentication
    def guarded() -> str:
        return current_identity.username

    return app


def test_a_view_takes_the_token_in_this_header(app: flask.Flask, settings: Settings) -> None:
    token, client = make_token(settings).text, app.test_client()

    known = client.get("/guarded", headers={"X-API-Key": token})
    across = client.post("/guarded", headers={"X-API-Key": token, "Origin": "https://elsewhere.example"})

    assert (known.status_code, known.text) == (200, "alice")
    # A browser adds no such header by itself: a script that knows the token is its owner's.
    assert across.status_code == 200


@pytest.mark.parametrize("value", ["{token},{token}", "Bearer {token}", "{token}0"])
def test_a_view_refuses_a_value_that_is_more_than_a_token(app: flask.Flask, settings: Settings, value: str) -> None:
    token = make_token(settings).text

    answer = app.test_client().get("/guarded", headers={"X-API-Key": value.format(token=token)})

    assert answer.status_code in (400, 401)


def test_a_view_refuses_a_token_beside_another_credential(app: flask.Flask, settings: Settings) -> None:
    token, password = make_token(settings).text, basic("bob", "builder")[1].decode()

    answer = app.test_client().get("/guarded", headers={"X-API-Key": token, "Authorization": password})

    assert answer.status_code == 400

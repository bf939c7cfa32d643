"""What a refusal tells about bearer tokens, at every place where there is one: enough to go on, and nothing to abuse."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import flask
import pytest

from compat_auth.app import Gateway
from compat_auth.config import Settings
from compat_auth.crypto.personal_token_format import make_text
from compat_auth.extension import CompatAuth, requires_authentication
from compat_auth.http.asgi import RawHeaders
from support.security.token_gateway import make_token, opened, settings_with_tokens
from support.security.upstream import Recorder
from support.stand_ins import FRONT, Sent, basic, call, http_scope

METADATA = 'resource_metadata="http://gateway.example/.well-known/oauth-protected-resource"'
LOGIN = 'Basic realm="Airflow", charset="UTF-8"'
# RFC 6749 3.3, in the quotes of RFC 9110 5.6.4.
SCOPE = re.compile(r'scope="((?:[\x21\x23-\x5b\x5d-\x7e]+)(?: [\x21\x23-\x5b\x5d-\x7e]+)*)"')


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with opened(settings) as gateway:
        yield gateway


def bearer(text: str) -> tuple[bytes, bytes]:
    return (b"authorization", f"Bearer {text}".encode())


def challenges(sent: Sent) -> list[str]:
    return [value.decode() for value in sent.values(b"www-authenticate")]


async def test_a_missing_scope_is_named_with_the_403(gateway: Gateway, settings: Settings) -> None:
    limited = make_token(settings, "GET /api/v2/dags").text

    sent = await call(gateway, http_scope(b"/api/v2/pools/", [bearer(limited)], method="POST"))

    assert sent.status == 403
    assert challenges(sent) == [f'Bearer error="insufficient_scope", scope="POST:/api/v2/pools", {METADATA}']


async def test_a_limited_token_is_told_that_only_all_makes_a_token(gateway: Gateway, settings: Settings) -> None:
    limited = make_token(settings, "POST /auth/token").text

    sent = await call(gateway, http_scope(b"/auth/token", [bearer(limited)], method="POST"))

    assert sent.status == 403
    assert challenges(sent) == [f'Bearer error="insufficient_scope", scope="all", {METADATA}']


@pytest.mark.parametrize(
    "path", [b"/api/v2/a%22,b", b"/api/v2/a%20b", b"/api/v2/z\xc3\xb6e", b"/api/v2/" + b"a" * 5000]
)
@pytest.mark.parametrize("method", ["GET", "PURGE", "X'`|~"])
async def test_no_request_writes_into_the_challenge_what_it_likes(
    gateway: Gateway, settings: Settings, path: bytes, method: str
) -> None:
    limited = make_token(settings, "GET /api/v2/dags").text

    sent = await call(gateway, http_scope(path, [bearer(limited)], method=method))

    assert sent.status == 403
    (challenge,) = challenges(sent)
    assert len(challenge) < 800
    rest = SCOPE.sub("S", challenge)
    assert rest in (
        f'Bearer error="insufficient_scope", S, {METADATA}',
        f'Bearer error="insufficient_scope", {METADATA}',
    )


@pytest.mark.parametrize(
    "path",
    [
        b"/api/v2/dags",
        b"/auth/token",
        b"/compat-auth/whoami",
        b"/compat-auth/introspect",
        b"/compat-auth/api/personal-tokens",
    ],
)
@pytest.mark.parametrize("text", [make_text().value, "cat_pat_", "!", ""], ids=["unknown", "cut", "malformed", "empty"])
async def test_a_wrong_bearer_token_is_told_to_be_wrong(gateway: Gateway, path: bytes, text: str) -> None:
    sent = await call(gateway, http_scope(path, [bearer(text)], method="POST"))

    assert sent.status == 401
    assert sorted(challenges(sent)) == [LOGIN, f'Bearer realm="Airflow", error="invalid_token", {METADATA}']


@pytest.mark.parametrize(
    "headers", [[], [(b"authorization", basic("alice", "wrong").encode())]], ids=["nothing", "wrong-password"]
)
@pytest.mark.parametrize("path", [b"/api/v2/dags", b"/compat-auth/whoami", b"/compat-auth/api/personal-tokens"])
async def test_who_shows_no_bearer_token_is_told_of_no_error(
    gateway: Gateway, path: bytes, headers: RawHeaders
) -> None:
    sent = await call(gateway, http_scope(path, headers))

    assert sent.status == 401
    assert challenges(sent) == [f'Bearer realm="Airflow", {METADATA}', LOGIN]


async def test_a_token_that_was_taken_back_is_told_to_be_wrong_even_where_no_backend_takes_one(
    tmp_path: Path, upstream: Recorder
) -> None:
    settings = settings_with_tokens(tmp_path, upstream.port, auth_backends=["basic_auth"])
    password = (b"authorization", basic("alice", "wonder").encode())
    async with opened(settings) as gateway:
        made = await call(gateway, http_scope(b"/auth/token", [password], method="POST"))
        jwt = made.body.split(b'"')[3]
        form = (b"content-type", b"application/x-www-form-urlencoded")
        await call(gateway, http_scope(b"/compat-auth/revoke", [form], method="POST"), b"token=" + jwt)

        sent = await call(gateway, http_scope(headers=[bearer(jwt.decode())]))

    assert sent.status == 401
    assert challenges(sent) == [LOGIN, f'Bearer error="invalid_token", {METADATA}']


@pytest.mark.parametrize("dialect", ["nginx", "caddy", "traefik"])
async def test_a_front_proxy_is_told_all_but_where_its_own_callers_find_us(
    tmp_path: Path, upstream: Recorder, dialect: str
) -> None:
    where, what = (
        (b"x-original-uri", b"x-original-method")
        if dialect == "nginx"
        else (
            b"x-forwarded-uri",
            b"x-forwarded-method",
        )
    )
    settings = settings_with_tokens(tmp_path, upstream.port, trusted_proxies=["10.0.0.0/8"], forward_auth=FRONT)
    limited = make_token(settings, "GET /api/v2/dags").text
    asked = [(where, b"/api/v2/dags"), (what, b"GET"), (b"x-http-method-override", b"DELETE"), bearer(limited)]
    wrong = [(where, b"/api/v2/dags"), (what, b"GET"), bearer(make_text().value)]
    path = f"/compat-auth/forward-auth/{dialect}".encode()
    async with opened(settings) as gateway:
        refused = await call(gateway, http_scope(path, asked, client="10.0.0.1"))
        unknown = await call(gateway, http_scope(path, wrong, client="10.0.0.1"))
        stranger = await call(gateway, http_scope(path, asked))

    scopes = "GET:/api/v2/dags DELETE:/api/v2/dags"
    assert (refused.status, challenges(refused)) == (403, [f'Bearer error="insufficient_scope", scope="{scopes}"'])
    assert (unknown.status, challenges(unknown)) == (401, ['Bearer realm="Airflow", error="invalid_token"', LOGIN])
    assert (stranger.status, challenges(stranger)) == (403, [])


async def test_where_callers_find_us_is_told_as_it_is_set(tmp_path: Path, upstream: Recorder) -> None:
    public = "https://airflow.example.org"
    settings = settings_with_tokens(
        tmp_path,
        upstream.port,
        trusted_proxies=["10.0.0.0/8"],
        forward_auth=FRONT,
        token_endpoint={"public_url": public},
    )
    headers = [(b"x-original-uri", b"/api/v2/dags"), (b"x-original-method", b"GET")]
    async with opened(settings) as gateway:
        direct = await call(gateway, http_scope(host=b"evil.example"))
        asked = await call(gateway, http_scope(b"/compat-auth/forward-auth/nginx", headers, client="10.0.0.1"))

    pointer = f'resource_metadata="{public}/.well-known/oauth-protected-resource"'
    assert challenges(direct)[0] == challenges(asked)[0] == f'Bearer realm="Airflow", {pointer}'


async def test_airflow_2_s_words_say_nothing_about_tokens_but_name_a_missing_scope(
    tmp_path: Path, upstream: Recorder
) -> None:
    backends = ["personal_token", "session", "basic_auth"]
    settings = settings_with_tokens(tmp_path, upstream.port, mode="airflow2", auth_backends=backends)
    limited = make_token(settings, "GET /api/v2/dags").text
    async with opened(settings) as gateway:
        wrong = await call(gateway, http_scope(headers=[bearer(make_text().value)]))
        refused = await call(gateway, http_scope(headers=[bearer(limited)]))

    assert "invalid_token" not in "".join(challenges(wrong))
    assert "resource_metadata" not in "".join(challenges(wrong))
    assert challenges(refused)[0].startswith('Bearer error="insufficient_scope", scope="GET:/api/x"')
    assert b"PermissionDenied" in refused.body


def test_a_view_tells_the_same_and_names_the_path_as_the_caller_sees_it(settings: Settings) -> None:
    app = flask.Flask("site")
    CompatAuth(app, settings)
    app.add_url_rule("/notes/<name>", view_func=requires_authentication(lambda name: name), methods=["GET", "POST"])
    client, limited = app.test_client(), make_token(settings, "GET /site/notes/a").text
    headers = {"Authorization": f"Bearer {limited}", "X-HTTP-Method-Override": 'DELETE", realm="x'}

    allowed = client.get("/notes/a", base_url="http://x/site", headers={"Authorization": f"Bearer {limited}"})
    refused = client.get('/notes/%22"', base_url="http://x/site", headers=headers)
    wrong = client.get("/notes/a", headers={"Authorization": "Bearer cat_pat_"})
    nobody = client.get("/notes/a")

    assert allowed.status_code == 200
    assert refused.status_code == 403
    assert refused.headers.getlist("WWW-Authenticate") == [
        'Bearer error="insufficient_scope", scope="GET:/site/notes/%22%22 all"'
    ]
    assert wrong.headers.getlist("WWW-Authenticate") == ['Bearer realm="Airflow", error="invalid_token"', LOGIN]
    assert nobody.headers.getlist("WWW-Authenticate") == ['Bearer realm="Airflow"', LOGIN]

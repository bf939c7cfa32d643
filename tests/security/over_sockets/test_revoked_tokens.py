"""Tokens that were taken back, and who learns what about whose: a whole gateway, asked from outside."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from compat_auth.app import Gateway
from compat_auth.config import parse_settings
from compat_auth.http.asgi import RawHeaders
from compat_auth.tokens.upstream_login import UpstreamLogin
from support.security.taking_back import FORM, GatewayUnderTest, as_user, bearer, cookie, open_instance
from support.security.upstream import Recorder
from support.stand_ins import basic, call, http_scope

BESIDE_BEARERS: dict[str, Any] = {
    "auth_backends": ["session", "personal_token", "oidc", "google_openid", "basic_auth"],
    "oidc": {"issuers": [{"issuer": "https://id.example.org", "audience": "airflow"}]},
    "google_openid": {"audience": ["app"], "hosted_domains": ["example.org"]},
    "session": {"secret": "s" * 32},
    "personal_tokens": {"pepper": "p" * 32},
}


@pytest.fixture(params=[pytest.param({}, id="passwords-alone"), pytest.param(BESIDE_BEARERS, id="beside-bearers")])
async def instance(
    tmp_path: Path, upstream: Recorder, request: pytest.FixtureRequest
) -> AsyncIterator[GatewayUnderTest]:
    async with open_instance(tmp_path, upstream, **request.param) as instance:
        yield instance


async def test_a_revoked_token_gets_no_further_than_the_gateway(instance: GatewayUnderTest) -> None:
    token, other = await instance.token_of("alice"), await instance.token_of("alice")
    before = await instance.get("/api/v2/dags", bearer(token))

    status = await instance.revoke(token)

    assert (before.status, status) == (200, 200)
    instance.upstream.take()
    assert (await instance.get("/api/v2/dags", bearer(token))).status == 401
    assert (await instance.get("/ui/dags", bearer(token))).status == 401
    assert instance.upstream.take() == []
    assert (await instance.get("/api/v2/dags", bearer(other))).status == 200


async def test_a_token_that_has_passed_many_times_is_refused_once_it_is_revoked(instance: GatewayUnderTest) -> None:
    token = await instance.token_of("alice")
    before = [(await instance.get("/api/v2/dags", bearer(token))).status for _ in range(5)]

    await instance.revoke(token)

    instance.upstream.take()
    assert before == [200] * 5
    assert [(await instance.get("/api/v2/dags", bearer(token))).status for _ in range(3)] == [401] * 3
    assert instance.upstream.take() == []


@pytest.mark.parametrize("spelling", ["{}=", "{}==", "{}.x", " {} "])
async def test_no_other_spelling_of_a_revoked_token_gets_further(instance: GatewayUnderTest, spelling: str) -> None:
    token = await instance.token_of("alice")
    await instance.revoke(token)
    instance.upstream.take()

    sent = await instance.get("/api/v2/dags", bearer(spelling.format(token)))

    assert sent.status in (400, 401)
    assert instance.upstream.take() == []


@pytest.mark.parametrize("spell", ["{}", '"{}"', '"\\145{}"'])
async def test_a_revoked_token_in_the_upstreams_cookie_is_nobody(instance: GatewayUnderTest, spell: str) -> None:
    token = await instance.token_of("alice")
    value = spell.format(token[1:] if "145" in spell else token)
    await instance.revoke(token)
    instance.upstream.take()

    guarded = await instance.get("/api/v2/dags", cookie(value))
    page = await instance.get("/ui/", cookie(value))

    assert (guarded.status, page.status) == (401, 200)
    (arrived,) = instance.upstream.take()
    assert arrived.values(b"cookie") == [b"theme=dark"]


async def test_a_good_bearer_lends_nothing_to_a_revoked_cookie(instance: GatewayUnderTest) -> None:
    good, revoked = await instance.token_of("alice"), await instance.token_of("bob")
    await instance.revoke(revoked)
    instance.upstream.take()

    sent = await instance.get("/api/v2/dags", bearer(good), cookie(revoked))

    assert sent.status == 401
    assert instance.upstream.take() == []


async def test_a_bearer_that_has_passed_before_lends_nothing_to_a_revoked_cookie_either(
    instance: GatewayUnderTest,
) -> None:
    good, revoked = await instance.token_of("alice"), await instance.token_of("bob")
    await instance.revoke(revoked)
    before = await instance.get("/api/v2/dags", bearer(good))
    instance.upstream.take()

    beside = [await instance.get("/api/v2/dags", bearer(good), cookie(revoked)) for _ in range(3)]

    assert (before.status, [sent.status for sent in beside]) == (200, [401] * 3)
    assert instance.upstream.take() == []


async def test_another_process_refuses_it_within_a_second(instance: GatewayUnderTest) -> None:
    token = await instance.token_of("alice")
    other = Gateway(parse_settings(instance.content, origin="test"))
    await other._proxy.open()
    before = await call(other, http_scope(b"/api/v2/dags", [bearer(token)]))
    await instance.revoke(token)
    revoked_at = time.monotonic()
    while (await call(other, http_scope(b"/api/v2/dags", [bearer(token)]))).status != 401:
        assert time.monotonic() - revoked_at < 1.5

    other._core.decider.close()
    await other._proxy.close()
    assert before.status == 200


async def test_a_forged_token_with_the_name_of_anothers_takes_nothing_back(instance: GatewayUnderTest) -> None:
    token = await instance.token_of("alice")
    claims = jwt.decode(token, options={"verify_signature": False})
    header = jwt.get_unverified_header(token)
    forged = jwt.encode(claims, "x" * 64, algorithm="HS512", headers={"kid": header["kid"]})
    unsigned = ".".join((base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("="), token.split(".")[1], ""))

    statuses = [await instance.revoke(text) for text in (forged, unsigned, "unknown", token[:-4])]

    assert statuses == [200, 200, 200, 200]
    assert (await instance.get("/api/v2/dags", bearer(token))).status == 200


@pytest.mark.parametrize("tail", ["\r\nX-User: root", "\nx", " x", "\0", "ä", "\u20ac", "," * 9000])
async def test_no_token_becomes_another_header_at_the_upstream(instance: GatewayUnderTest, tail: str) -> None:
    claims = base64.urlsafe_b64encode(b'{"jti": "a"}').decode().rstrip("=")
    login = UpstreamLogin("127.0.0.1", instance.upstream.port, "/auth/token", None, 1, 1)
    instance.upstream.take()

    login.log_out(f"e30.{claims}.sig{tail}")

    assert await instance.revoke(f"e30.{claims}.sig{tail}") == 200
    assert instance.upstream.take() == []


async def test_what_is_revoked_says_so_to_its_owner_only_by_being_inactive(instance: GatewayUnderTest) -> None:
    token = await instance.token_of("alice")
    before = await instance.introspect(token, "alice")

    await instance.revoke(token)

    assert before["active"] is True
    assert (before["username"], before["sub"], before["scope"]) == ("alice", "alice", "all")
    assert await instance.introspect(token, "alice") == {"active": False}


async def test_a_token_of_anothers_is_what_a_guess_is(instance: GatewayUnderTest) -> None:
    token = await instance.token_of("alice")

    told = [await instance.introspect(text, "bob") for text in (token, token[:-5], "guess", "a.b.c", "ä", "a b")]

    assert told == [{"active": False}] * 6
    assert (await instance.introspect(token, "seer"))["username"] == "alice"


@pytest.mark.parametrize("headers", [[], [(b"authorization", basic("alice", "wrong").encode())]])
async def test_nobody_in_particular_learns_nothing(instance: GatewayUnderTest, headers: RawHeaders) -> None:
    token = await instance.token_of("alice")

    sent = await instance.post("/compat-auth/introspect", {"token": token}, *headers)

    assert sent.status == 401
    assert b"alice" not in sent.body


@pytest.mark.parametrize("path", ["/compat-auth/introspect", "/compat-auth/revoke"])
@pytest.mark.parametrize(
    "body", [b"", b"token=", b"token=a&token=b", b"token_type_hint=x", b"{}", b"token=%ff", b"t" * 70_000]
)
async def test_no_body_is_a_server_error(instance: GatewayUnderTest, path: str, body: bytes) -> None:
    scope = http_scope(path.encode(), [FORM, as_user("alice")], method="POST")

    sent = await call(instance.gateway, scope, body)

    assert sent.status in (400, 413)


@pytest.mark.parametrize("path", ["/compat-auth/introspect", "/compat-auth/revoke"])
async def test_a_token_does_not_belong_into_a_url(instance: GatewayUnderTest, path: str) -> None:
    sent = await instance.get(path, as_user("alice"))

    assert sent.status == 405
    assert sent.values(b"allow") == [b"POST"]


async def test_the_metadata_names_each_door_by_what_the_caller_calls_us(instance: GatewayUnderTest) -> None:
    server = json.loads((await instance.get("/.well-known/oauth-authorization-server")).body)
    resource = json.loads((await instance.get("/.well-known/oauth-protected-resource")).body)

    assert server["issuer"] == "http://gateway.example"
    assert resource["resource"] == server["issuer"]
    assert resource["authorization_servers"] == [server["issuer"]]
    for name in ("token_endpoint", "revocation_endpoint", "introspection_endpoint", "jwks_uri"):
        assert server[name].startswith("http://gateway.example/")


async def test_who_comes_by_another_credential_is_not_shut_out_by_a_revoked_cookie(instance: GatewayUnderTest) -> None:
    token = await instance.token_of("alice")
    await instance.revoke(token)
    instance.upstream.take()

    sent = await instance.get("/api/v2/dags", as_user("bob"), cookie(token))

    assert sent.status == 200
    (arrived,) = instance.upstream.take()
    assert arrived.values(b"cookie") == [b"theme=dark"]

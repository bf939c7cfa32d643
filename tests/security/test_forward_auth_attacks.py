"""Whoever may ask the forward-auth endpoint, and what a client can slip through the proxy that asks."""

from __future__ import annotations

import json
from collections.abc import Generator

import pytest

from compat_auth.config import parse_settings
from compat_auth.errors import ConfigError
from compat_auth.forward_auth import DIALECTS
from security.gateway import Answer, Gateway, basic, running_gateway, write_config
from security.upstream import recording_upstream

ALICE = (b"Authorization", basic())
PROXIES = 'trusted_proxies = ["127.0.0.1/32", "10.9.0.0/16"]'


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    folder = tmp_path_factory.mktemp("forward")
    with recording_upstream() as upstream:
        config = write_config(folder, f"http://127.0.0.1:{upstream.port}", PROXIES)
        with running_gateway(config, upstream) as gateway:
            yield gateway


def original(dialect: str, target: bytes = b"/api/v2/x", method: bytes = b"GET") -> list[tuple[bytes, bytes]]:
    """Return what the proxy says about the original request."""
    return [(DIALECTS[dialect].uri, target), (DIALECTS[dialect].method, method)]


def check(gateway: Gateway, dialect: str, *headers: tuple[bytes, bytes]) -> Answer:
    return gateway.ask(f"/compat-auth/forward-auth/{dialect}", *headers)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("claim", [b"127.0.0.1", b"10.9.0.1", b"::1"])
def test_a_peer_that_is_no_trusted_proxy_gets_no_decision(gateway: Gateway, dialect: str, claim: bytes) -> None:
    spoofed = [(b"X-Forwarded-For", claim), (b"X-Real-IP", claim), (b"Forwarded", b"for=" + claim)]

    answer = check(gateway, dialect, ALICE, *original(dialect), *spoofed)

    assert answer.status == 403
    assert all(name != b"authorization" for name, _ in answer.headers)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_trusted_proxy_gets_the_token_of_the_caller_and_no_password(behind_proxy: Gateway, dialect: str) -> None:
    answer = check(behind_proxy, dialect, ALICE, *original(dialect))

    assert answer.status == 200
    (authorization,) = [value for name, value in answer.headers if name == b"authorization"]
    assert authorization.startswith(b"Bearer eyJ")


@pytest.mark.parametrize(
    "target",
    [
        b"http://gateway/static/x",
        b"//gateway/static",
        b"/static/x#/api",
        b"/static#",
        b"/api/../static",
        b"/static/%2e%2e/api",
        b"/static\\x",
        b"/static x",
        b"*",
        b"static",
        b"/static?a#b",
        b"/%00",
        b"/\xff",
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_original_target_with_two_readings_is_refused(behind_proxy: Gateway, dialect: str, target: bytes) -> None:
    answer = check(behind_proxy, dialect, ALICE, *original(dialect, target))

    assert answer.status == 400


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("position", [0, 1], ids=["target", "method"])
@pytest.mark.parametrize("times", [0, 2])
def test_a_target_or_method_that_is_missing_or_there_twice_is_refused(
    behind_proxy: Gateway, dialect: str, position: int, times: int
) -> None:
    told = original(dialect, b"/static/x")

    answer = check(behind_proxy, dialect, ALICE, told[1 - position], *[told[position]] * times)

    assert answer.status == 400


@pytest.mark.parametrize("method", [b"", b"GET POST", b"G\xc9T", b"GET/", b"TRACE", b"CONNECT"])
def test_a_method_that_is_none_or_echoes_credentials_is_refused(behind_proxy: Gateway, method: bytes) -> None:
    answer = check(behind_proxy, "nginx", ALICE, *original("nginx", method=method))

    assert answer.status in {400, 501}


def test_each_dialect_believes_only_its_own_headers(behind_proxy: Gateway) -> None:
    for dialect in DIALECTS:
        others = [header for other in DIALECTS for header in original(other, b"/static/x")]
        foreign = [(name, value) for name, value in others if name not in {name for name, _ in original(dialect)}]

        answer = check(behind_proxy, dialect, *original(dialect), *foreign)

        assert answer.status == 401


@pytest.mark.parametrize(
    "target",
    [b"/api/v2/x", b"/%61pi/v2", b"/api%2Fv2", b"/API/v2", b"/%2Fapi/v2", b"/api;a=b/v2", b"/api/v2?x=/static"],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_spelling_of_a_protected_target_is_let_in_without_credentials(
    behind_proxy: Gateway, dialect: str, target: bytes
) -> None:
    answer = check(behind_proxy, dialect, *original(dialect, target))

    assert answer.status == 401


@pytest.mark.parametrize(
    "header",
    [
        (b"Remote-User", b"admin"),
        (b"X-Remote-User", b"admin"),
        (b"X-Forwarded-User", b"admin"),
        (b"X-Auth-Request-User", b"admin"),
        (b"X-Forwarded-Access-Token", b"eyJ.eyJ.x"),
        (b"X-Ms-Client-Principal", b"e30="),
        (b"User-Agent", b"GoogleHC/1.0"),
        (b"User-Agent", b"kube-probe/1.30"),
        (b"X-Forwarded-Uri", b"/ping"),
        (b"X-Envoy-Original-Path", b"/static"),
        (b"X-Envoy-Internal", b"true"),
        (b"X-Forwarded-For", b"127.0.0.1"),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-HTTP-Method-Override", b"OPTIONS"),
        (b"Connection", b"authorization, x-original-uri"),
        (b"Proxy-Authorization", basic()),
        (b"X-Compat-Auth-Cookie", b"_token=a"),
    ],
    ids=lambda header: header[0].decode(),
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_no_header_and_no_method_is_a_way_in_without_a_credential(
    behind_proxy: Gateway, gateway: Gateway, header: tuple[bytes, bytes], method: str
) -> None:
    answers = [one.ask("/api/v2/x", header, method=method) for one in (gateway, behind_proxy)]

    assert [answer.status for answer in answers] == [401, 401]
    assert gateway.upstream.take() == []
    assert behind_proxy.upstream.take() == []


@pytest.mark.parametrize(
    ("forwarded", "believed"),
    [
        (b"203.0.113.5", "203.0.113.5"),
        (b"203.0.113.5, 10.9.0.7", "203.0.113.5"),
        (b"127.0.0.1, 203.0.113.5", "203.0.113.5"),
        (b"10.9.0.1, 203.0.113.5, 10.9.0.7", "203.0.113.5"),
        (b"203.0.113.5, rubbish", "127.0.0.1"),
        (b"unknown", "127.0.0.1"),
        (b"203.0.113.5, ::ffff:10.9.0.7", "203.0.113.5"),
    ],
)
def test_the_callers_address_is_the_last_that_no_trusted_proxy_vouches_for(
    behind_proxy: Gateway, forwarded: bytes, believed: str
) -> None:
    written = behind_proxy.log.stat().st_size

    behind_proxy.ask("/api/v2/x", (b"Authorization", basic(password=forwarded.hex())), (b"X-Forwarded-For", forwarded))

    with behind_proxy.log.open("rb") as log:
        log.seek(written)
        (verdict,) = [line for line in log.read().splitlines() if b'"verdict"' in line]
    assert json.loads(verdict[verdict.index(b"{") :])["client"] == believed


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "10.0.0.1/0"])
def test_trusting_everybody_is_refused_at_the_start(network: str) -> None:
    with pytest.raises(ConfigError, match="trusts every address"):
        parse_settings({"trusted_proxies": [network]}, origin="test")


def test_nobody_is_trusted_by_default() -> None:
    settings = parse_settings({}, origin="test")

    assert settings.trusted_proxies == []


@pytest.mark.parametrize(
    "authorization",
    [
        b"",
        b" ",
        b"Basic",
        b"Basic ",
        b"Basic Og==",
        b"Basic YWxpY2U6",
        b"Basic OndvbmRlcjpsYW5k",
        b"Bearer",
        b"Bearer ",
        b"Negotiate",
        b"Basic \x80",
        b"Basic YWxpY2U=",
        b"Basic /////w==",
        b"Basic YQBiOmM=",
        b",",
        b"Basic =",
        b"Bearer =",
    ],
)
def test_an_empty_or_odd_credential_is_refused_even_beside_the_upstreams_cookie(
    gateway: Gateway, authorization: bytes
) -> None:
    answer = gateway.ask("/api/v2/x", (b"Authorization", authorization), (b"Cookie", b"_token=a.b.c"))

    assert answer.status in {400, 401}
    assert gateway.upstream.take() == []

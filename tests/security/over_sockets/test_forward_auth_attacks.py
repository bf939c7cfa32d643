"""Who may ask the forward-auth endpoint, and what a client can slip through the proxy that asks."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from compat_auth.config import parse_settings
from compat_auth.errors import ConfigError
from compat_auth.gateway.forward_auth.access import access_of
from compat_auth.gateway.forward_auth.dialects import DIALECTS
from corpora.cases import cases, to_headers, values_for
from support.security.gateway import Answer, Gateway, basic, free_port, running_gateway, write_config
from support.security.upstream import recording_upstream

ALICE = (b"Authorization", basic())
VALUES = values_for("gateway", basic().decode(), basic("zoë").decode())
PROXIES = 'trusted_proxies = ["127.0.0.1/32", "10.9.0.0/16"]'


SECRET = b"a-secret-of-the-front-proxy-alone-0123456789"
WITH_SECRET = (b"X-Compat-Auth-Proxy-Secret", SECRET)


@dataclasses.dataclass
class Fronted(Gateway):
    """A gateway that serves front proxies on a listener of their own."""

    front_port: int = 0

    @property
    def front(self) -> Gateway:
        """The same process, asked at that listener."""
        return Gateway(self.front_port, self.process, self.log, self.upstream)

    def log_after(self, written: int) -> str:
        with self.log.open("rb") as log:
            log.seek(written)
            return log.read().decode()


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Generator[Fronted]:
    folder, port = tmp_path_factory.mktemp("forward"), free_port()
    with recording_upstream() as upstream:
        section = f'{PROXIES}\n[forward_auth]\nbind = "127.0.0.1:{port}"'
        config = write_config(folder, f"http://127.0.0.1:{upstream.port}", section)
        with running_gateway(config, upstream) as gateway:
            yield Fronted(gateway.port, gateway.process, gateway.log, upstream, front_port=port)


def with_secret(folder: Path, trusted: str) -> AbstractContextManager[Gateway]:
    @contextmanager
    def run() -> Generator[Gateway]:
        with recording_upstream() as upstream:
            section = f'trusted_proxies = ["{trusted}"]\n[forward_auth]\nsecret = "{SECRET.decode()}"'
            config = write_config(folder, f"http://127.0.0.1:{upstream.port}", section)
            with running_gateway(config, upstream) as gateway:
                yield gateway

    return run()


@pytest.fixture(scope="module")
def by_secret(tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    """A gateway whose front proxy shows a secret."""
    with with_secret(tmp_path_factory.mktemp("secret"), "127.0.0.1/32") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def untrusting(tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    """A gateway whose front proxy is elsewhere."""
    with with_secret(tmp_path_factory.mktemp("untrusting"), "10.9.0.0/16") as gateway:
        yield gateway


def original(dialect: str, target: bytes = b"/api/v2/x", method: bytes = b"GET") -> list[tuple[bytes, bytes]]:
    """Return what the proxy says about the original request."""
    return [(DIALECTS[dialect].uri, target), (DIALECTS[dialect].method, method)]


def check(gateway: Gateway, dialect: str, *headers: tuple[bytes, bytes]) -> Answer:
    """Ask at the listener of front proxies where there is one."""
    asked = gateway.front if isinstance(gateway, Fronted) else gateway
    return asked.ask(f"/compat-auth/forward-auth/{dialect}", *headers)


def token_in(answer: Answer) -> list[bytes]:
    return [value for name, value in answer.headers if name == b"authorization"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_without_being_turned_on_there_is_no_forward_auth_and_the_log_says_how(gateway: Gateway, dialect: str) -> None:
    answer = check(gateway, dialect, ALICE, *original(dialect))

    assert (answer.status, token_in(answer)) == (404, [])
    assert b"set [forward_auth] bind" in gateway.log.read_bytes()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_client_behind_the_proxy_does_not_reach_the_listener_of_front_proxies(
    behind_proxy: Fronted, dialect: str
) -> None:
    path = f"/compat-auth/forward-auth/{dialect}"
    spellings = [path, f"{path}/", f"{path}?x", path.replace("forward", "%66orward")]

    answers = [behind_proxy.ask(spelling, ALICE, WITH_SECRET, *original(dialect)) for spelling in spellings]

    assert [(answer.status, token_in(answer)) for answer in answers] == [(404, [])] * 4


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v2/x",
        "/static/x",
        "/compat-auth/whoami",
        "/compat-auth/login",
        "/auth/token",
        "/.well-known/jwks.json",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_listener_of_front_proxies_serves_nothing_else(behind_proxy: Fronted, path: str, method: str) -> None:
    answer = behind_proxy.front.ask(path, ALICE, method=method)

    assert answer.status == 404
    assert behind_proxy.upstream.take() == []


def test_the_listener_of_front_proxies_tells_life_and_readiness(behind_proxy: Fronted) -> None:
    answers = [behind_proxy.front.ask(f"/compat-auth/{page}") for page in ("live", "ready")]

    assert [answer.status for answer in answers] == [200, 200]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "shown",
    [
        pytest.param([], id="none"),
        pytest.param([(WITH_SECRET[0], b"")], id="empty"),
        pytest.param([(WITH_SECRET[0], SECRET[:-1])], id="shorter"),
        pytest.param([(WITH_SECRET[0], SECRET + b"0")], id="longer"),
        pytest.param([(WITH_SECRET[0], SECRET.upper())], id="upper-case"),
        pytest.param([(WITH_SECRET[0], b"\xff" * 40)], id="not-ascii"),
        pytest.param([WITH_SECRET, WITH_SECRET], id="twice"),
        pytest.param([WITH_SECRET, (WITH_SECRET[0], b"of-a-client")], id="beside-a-clients-own"),
    ],
)
def test_without_the_secret_nobody_gets_a_decision(
    by_secret: Gateway, dialect: str, shown: list[tuple[bytes, bytes]]
) -> None:
    answer = check(by_secret, dialect, ALICE, *original(dialect), *shown)

    assert (answer.status, token_in(answer)) == (403, [])


@pytest.mark.parametrize("name", [b"X_Compat_Auth_Proxy_Secret", b"X-Compat_Auth-Proxy.Secret"])
def test_another_spelling_of_the_secrets_header_is_refused(by_secret: Gateway, name: bytes) -> None:
    answer = check(by_secret, "nginx", ALICE, *original("nginx"), (name, SECRET))

    assert answer.status == 400


def test_the_secret_opens_the_endpoint_and_goes_nowhere(by_secret: Gateway) -> None:
    answer = check(by_secret, "nginx", ALICE, *original("nginx"), WITH_SECRET)
    passed = by_secret.ask("/api/v2/x", ALICE, WITH_SECRET)
    opened = by_secret.ask("/static/x", WITH_SECRET)

    assert (answer.status, passed.status, opened.status) == (200, 200, 200)
    assert token_in(answer)[0].startswith(b"Bearer eyJ")
    assert all(SECRET not in value for arrived in by_secret.upstream.take() for _, value in arrived.headers)
    assert SECRET not in by_secret.log.read_bytes()


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        pytest.param(b"203.0.113.5", 200, id="client"),
        pytest.param(b"203.0.113.5, 10.9.0.7", 200, id="client-and-trusted-proxy"),
        pytest.param(b"10.9.0.7", 200, id="trusted-client"),
        pytest.param(b"198.51.100.1, 203.0.113.5", 403, id="hop-before-the-client"),
        pytest.param(b"127.0.0.1, 203.0.113.5", 403, id="trusted-hop-before-the-client"),
        pytest.param(b"203.0.113.5, unknown", 403, id="no-address"),
        pytest.param(b"198.51.100.1, 203.0.113.5, 10.9.0.7", 403, id="hop-before-client-and-trusted-proxy"),
    ],
)
def test_a_hop_for_which_no_trusted_proxy_vouches_ends_the_question(
    behind_proxy: Fronted, forwarded: bytes, status: int
) -> None:
    answer = check(behind_proxy, "nginx", ALICE, *original("nginx"), (b"X-Forwarded-For", forwarded))

    assert answer.status == status


@pytest.mark.parametrize(
    ("dialect", "host", "status"),
    [
        pytest.param("traefik", [b"airflow.example"], 200, id="traefik"),
        pytest.param("caddy", [b"airflow.example"], 200, id="caddy"),
        pytest.param("nginx", [b"airflow.example"], 403, id="nginx-says-it-in-Host"),
        pytest.param("caddy", [b"other.example"], 403, id="another-host"),
        pytest.param("caddy", [], 403, id="none"),
        pytest.param("caddy", [b"airflow.example", b"airflow.example"], 400, id="two"),
        pytest.param("caddy", [b"airflow.example/x"], 400, id="no-host"),
        pytest.param("caddy", [b"airflow.example, airflow.example"], 400, id="a-list"),
    ],
)
def test_a_pages_own_origin_is_the_host_that_the_proxy_was_asked_for(
    behind_proxy: Fronted, dialect: str, host: list[bytes], status: int
) -> None:
    told = [*original(dialect, method=b"POST"), *((b"X-Forwarded-Host", value) for value in host)]

    answer = check(behind_proxy, dialect, ALICE, *told, (b"Origin", b"http://airflow.example"))

    assert answer.status == status
    # The upstream was asked whether its CORS settings allow the origin.
    preflights = [b"OPTIONS /api/v2/x"] if status == 403 else []
    assert [arrived.head[:17] for arrived in behind_proxy.upstream.take()] == preflights


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE"])
def test_a_page_of_another_site_gets_no_token_for_what_the_browser_adds(
    behind_proxy: Fronted, dialect: str, method: bytes
) -> None:
    foreign = [(b"Sec-Fetch-Site", b"cross-site"), (b"Sec-Fetch-Mode", b"navigate"), (b"Origin", b"https://evil")]

    answer = check(behind_proxy, dialect, ALICE, *original(dialect, method=method), *foreign)

    assert (answer.status, token_in(answer)) == (403, [])


@pytest.mark.parametrize(
    ("section", "says"),
    [
        pytest.param({"bind": "0.0.0.0:9188"}, "set forward_auth.secret, too", id="for-everybody"),
        pytest.param({"bind": "10.1.2.3:9188"}, "set forward_auth.secret, too", id="for-a-network"),
        pytest.param({"bind": "[::]:9188"}, "set forward_auth.secret, too", id="for-everybody-ipv6"),
        pytest.param({"bind": "proxy.internal:9188"}, "set forward_auth.secret, too", id="for-a-name"),
        pytest.param({"bind": "127.0.0.1:8088"}, "the port of serve.bind", id="port-taken"),
        pytest.param({"secret": "x" * 31}, "at least 32", id="short-secret"),
        pytest.param({"secret": "x" * 31 + "\x7f"}, "printable", id="control-character"),
        pytest.param({"secret": "é" * 32}, "printable", id="not-ascii"),
    ],
)
def test_settings_that_let_clients_ask_are_refused_at_the_start(section: dict[str, str], says: str) -> None:
    settings = parse_settings({"trusted_proxies": ["10.0.0.0/8"], "forward_auth": section}, origin="test")

    with pytest.raises(ConfigError, match=re.escape(says)):
        access_of(settings)


def test_forward_auth_for_nobody_is_refused_at_the_start() -> None:
    settings = parse_settings({"forward_auth": {"bind": "127.0.0.1:9188"}}, origin="test")

    with pytest.raises(ConfigError, match="trusted_proxies is empty"):
        access_of(settings)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("claim", [b"127.0.0.1", b"10.9.0.1", b"::1"])
def test_a_peer_that_is_no_trusted_proxy_gets_no_decision(untrusting: Gateway, dialect: str, claim: bytes) -> None:
    spoofed = [(b"X-Forwarded-For", claim), (b"X-Real-IP", claim), (b"Forwarded", b"for=" + claim)]

    answer = check(untrusting, dialect, ALICE, *original(dialect), *spoofed, WITH_SECRET)

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


@pytest.mark.parametrize(
    ("dialect", "status", "location"),
    [
        ("nginx", 400, []),
        ("traefik", 308, [b"http://gateway/evil.example/static"]),
        ("caddy", 308, [b"/evil.example/static"]),
    ],
)
def test_an_original_target_with_an_empty_segment_gets_no_token_and_leads_to_no_other_host(
    behind_proxy: Gateway, dialect: str, status: int, location: list[bytes]
) -> None:
    answer = check(behind_proxy, dialect, ALICE, *original(dialect, b"//evil.example//static"))

    assert answer.status == status
    assert [value for name, value in answer.headers if name == b"location"] == location
    assert b"authorization" not in dict(answer.headers)


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
    [header for case in cases("headers") if case["kind"] == "bypass" for header in to_headers(case, VALUES)],
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
    [to_headers(case, VALUES)[0][1] for case in cases("headers") if case["kind"] == "odd-credential"],
)
def test_an_empty_or_odd_credential_is_refused_even_beside_the_upstreams_cookie(
    gateway: Gateway, authorization: bytes
) -> None:
    answer = gateway.ask("/api/v2/x", (b"Authorization", authorization), (b"Cookie", b"_token=a.b.c"))

    assert answer.status in {400, 401}
    assert gateway.upstream.take() == []

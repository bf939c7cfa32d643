"""The configurations that `compat-auth proxy-config` writes, in the real proxies: the answers are those of the gateway."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from compat_auth.app import create_app
from compat_auth.cli import commands
from compat_auth.cli.demo.upstream import BackgroundServer
from compat_auth.cli.proxy_config.removal import families, single_names
from compat_auth.config import load_settings
from compat_auth.credentials import Bearer, Credential
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.gateway.server.server import bind_socket
from compat_auth.outcome import Outcome
from compat_auth_backends.personal_token import PersonalTokenBackend
from support.certificates import Authority
from support.peers.asking import ALICE, HOST, Answer, ask, ask_on, connect, new_token, subject
from support.peers.generated import (
    PROXIES,
    WITH_LANE,
    Front,
    Site,
    basic,
    program_of,
    running_site,
    seen_headers,
    start,
    together,
)
from support.peers.process import free_port

pytestmark = pytest.mark.peer

UNAVAILABLE = "cat_pat_of_a_store_that_is_down"
_authenticate = PersonalTokenBackend.authenticate


def failing(backend: PersonalTokenBackend, credential: Credential) -> Outcome:
    """Authenticate, as if the store were down for one token."""
    if isinstance(credential, Bearer) and credential.token == UNAVAILABLE:
        raise BackendUnavailable("database_url: down")
    return _authenticate(backend, credential)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch, running_site(tmp_path_factory.mktemp("site")) as running:
        patch.setattr(PersonalTokenBackend, "authenticate", failing)
        yield running


@pytest.fixture(scope="module", params=PROXIES)
def front(request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    name = str(request.param)
    running = start(name, site, tmp_path_factory.mktemp(name))
    try:
        yield running
    finally:
        running.process.stop()


def test_a_good_password_reaches_the_upstream_as_its_users_token(front: Front) -> None:
    answers = [ask(front.url, "/api/x?limit=1&order_by=-id", ALICE) for _ in range(3)]

    assert [(answer.status, subject(answer), answer.seen["target"]) for answer in answers] == [
        (200, "alice", "/api/x?limit=1&order_by=-id")
    ] * 3


def test_a_warm_request_goes_past_the_gateway_where_the_proxy_has_the_lane(front: Front) -> None:
    ask(front.url, "/api/x", ALICE)
    front.site.seen.clear()

    for _ in range(10):
        assert ask(front.url, "/api/x", ALICE).status == 200

    assert len(front.site.seen) == (0 if front.has_lane else 10) or (front.has_lane and len(front.site.seen) <= 2)


def refusals(site: Site) -> dict[str, tuple[str, str, list[tuple[str, str]]]]:
    """Return requests that the gateway refuses or answers itself: method, target, headers."""
    limited, _ = new_token(site, "GET /api/x")
    revoked, revoked_id = new_token(site)
    assert ask(site.url, f"/compat-auth/api/personal-tokens/{revoked_id}", ALICE, method="DELETE").status == 204
    return {
        "wrong": ("GET", "/api/x", [("Authorization", basic("alice", "wrong"))]),
        "none": ("GET", "/api/x", []),
        "wrong token": ("GET", "/api/x", [("Authorization", "Bearer cat_pat_x")]),
        "revoked": ("GET", "/api/x", [("Authorization", revoked)]),
        "scoped": ("GET", "/api/y", [("Authorization", limited)]),
        "scoped, method": ("DELETE", "/api/x", [("Authorization", limited)]),
        "malformed": ("GET", "/api/x", [("Authorization", "Basic ???")]),
        "empty": ("GET", "/api/x", [("Authorization", "")]),
        "empty, beside a cookie": ("GET", "/api/x", [("Authorization", ""), ("Cookie", "_token=evil")]),
        "unavailable": ("GET", "/api/x", [("Authorization", f"Bearer {UNAVAILABLE}")]),
        "encoded twice": ("GET", "/api/%252e%252e/x", [ALICE]),
        "encoded backslash": ("GET", "/api/a%5Cb", [ALICE]),
        "no page": ("GET", "/compat-auth/nothing", [ALICE]),
        "lane": ("GET", "/compat-auth/forward-auth/lane", [ALICE]),
        "forward-auth": ("GET", "/compat-auth/forward-auth/nginx", [ALICE, ("X-Original-Uri", "/api/x")]),
        "another site's form": (
            "POST",
            "/api/x",
            [ALICE, ("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example"), ("Content-Length", "0")],
        ),
        "api key beside a password": ("GET", "/api/x", [ALICE, ("X-API-Key", "cat_pat_x")]),
    }


@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
def test_each_refusal_is_the_gateways_own(front: Front, is_warm: bool) -> None:
    wrong: dict[str, Any] = {}
    for name, (method, target, headers) in refusals(front.site).items():
        if is_warm:
            ask(front.url, "/api/x", ALICE)
            ask(front.url, "/api/x", *headers)
        answer, own = (ask(url, target, *headers, method=method) for url in (front.url, front.site.url))
        compared = [
            (a.status, sorted(a.values("www-authenticate")), a.values("content-type"), a.body) for a in (answer, own)
        ]
        if compared[0] != compared[1] or own.status < 400:
            wrong[name] = compared

    assert wrong == {}


@pytest.mark.parametrize("target", ["/api/../x", "/api/./x", "/api/%2e%2e/x", "//api//x", "/api/x/..;/y"])
def test_a_path_with_two_readings_never_reaches_the_upstream(front: Front, target: str) -> None:
    ask(front.url, "/api/x", ALICE)
    front.site.upstream.calls = 0

    answer = ask(front.url, target, ALICE)

    assert answer.status in (308, 400)
    assert front.site.upstream.calls == 0


@pytest.mark.parametrize("target", ["/api/a%2Fb", "/api/a%3Ab+c", "/api/x?a=b%2Fc&d=%25", "/api/x/", "/api/x;v=1"])
def test_data_in_a_path_arrives_as_it_was_sent(front: Front, target: str) -> None:
    answer = ask(front.url, target, ALICE)

    assert (answer.status, answer.seen["target"]) == (200, target)


def forged_names() -> list[str]:
    ends = {"*": "Anything", "?": "-Id"}
    members = [family.rstrip("*?") + ends.get(family[-1], "") for family in families()]
    names = dict.fromkeys([*map(str.lower, single_names()), *members, "x-forwarded-for", "x-forwarded-host"])
    return [name for name in names if not name.endswith("-")]


@pytest.mark.parametrize("target", ["/api/x", "/open"])
def test_no_header_by_which_a_caller_pretends_to_be_somebody_or_a_proxy_arrives(front: Front, target: str) -> None:
    names = forged_names()
    ask(front.url, "/api/x", ALICE)
    arrived: list[str] = []

    for start_at in range(0, len(names), 20):
        sent = [(name, "forged-value") for name in names[start_at : start_at + 20]]
        answer = ask(front.url, target, ALICE, *sent)
        assert (answer.status, answer.seen["method"], answer.seen["target"]) == (200, "GET", target)
        arrived += [name for name, value in answer.seen["headers"] if "forged-value" in value]

    assert len(names) > 200
    assert arrived == []


@pytest.mark.parametrize("name", ["Remote_User", "X_Forwarded_User", "X_HTTP_Method_Override", "X.Forwarded.User"])
def test_another_spelling_of_such_a_header_does_not_arrive(front: Front, name: str) -> None:
    ask(front.url, "/api/x", ALICE)

    answer = ask(front.url, "/api/x", ALICE, (name, "forged-value"))

    assert answer.status in (200, 400)
    assert b"forged-value" not in answer.body


def test_the_callers_own_word_about_where_it_comes_from_does_not_arrive(front: Front) -> None:
    forged = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.example")]
    ask(front.url, "/api/x", ALICE)

    answer = ask(front.url, "/api/x", ALICE, *forged)

    seen = seen_headers(answer.seen)
    assert set(seen["x-forwarded-for"].split(", ")) == {"127.0.0.1"}
    assert (seen["x-forwarded-proto"], seen["x-forwarded-host"]) == ("http", HOST)


def test_the_caller_chooses_neither_the_id_of_a_request_nor_its_trace(front: Front) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    forged = [("X-Request-Id", "of-the-caller"), ("Traceparent", f"00-{trace}-00f067aa0ba902b7-01")]
    ask(front.url, "/api/x", ALICE)

    answer = ask(front.url, "/api/x", ALICE, *forged, ("Tracestate", "caller=1"), ("Baggage", "caller=1"))

    seen = seen_headers(answer.seen)
    assert answer.status == 200
    assert "of-the-caller" not in seen.get("x-request-id", "")
    assert {"traceparent", "tracestate", "baggage"}.isdisjoint(seen)


def test_what_airflows_api_needs_arrives_as_it_was_sent(front: Front) -> None:
    wanted = {
        "accept": "application/json",
        "accept-language": "de",
        "if-none-match": '"tag"',
        "range": "bytes=0-",
        "referer": "http://other.example/page",
        "user-agent": "script/1",
        "x-correlation-id": "an-id",
    }
    ask(front.url, "/api/x", ALICE)

    answer = ask(front.url, "/api/x", ALICE, *wanted.items())

    seen = seen_headers(answer.seen)
    assert {name: seen.get(name) for name in wanted} == wanted


def test_cookies_of_another_login_go_and_others_stay(front: Front) -> None:
    cookie = ("Cookie", "_token=of-bob; theme=dark")

    answers = [ask(front.url, "/api/x", ALICE, cookie) for _ in range(3)]

    assert [(seen_headers(a.seen)["cookie"], subject(a)) for a in answers] == [("theme=dark", "alice")] * 3


def test_two_authorization_headers_are_refused(front: Front) -> None:
    ask(front.url, "/api/x", ALICE)

    answer = ask(front.url, "/api/x", ALICE, ("Authorization", basic("bob")))

    assert answer.status == 400


def test_two_users_are_never_mixed_up_under_load(front: Front) -> None:
    token, _ = new_token(front.site)
    callers = {basic("alice"): "alice", basic("bob"): "bob", token: "alice"}
    wrong: list[tuple[str, str]] = []

    def work(number: int) -> None:
        with closing(connect(front.url)) as connection:
            for turn in range(60):
                authorization = list(callers)[(turn + number) % len(callers)]
                # The same cookies beside different credentials, and the other way round.
                answer = ask_on(connection, "/api/x", ("Authorization", authorization), ("Cookie", f"theme={turn % 2}"))
                assert answer.status == 200
                if subject(answer) != callers[authorization]:
                    wrong.append((subject(answer), callers[authorization]))

    together(*(lambda number=number: work(number) for number in range(6)))

    assert wrong == []


def test_a_revoked_token_is_refused_within_a_second(front: Front) -> None:
    late: list[tuple[float, int]] = []
    for _ in range(2):
        token, token_id = new_token(front.site)
        assert ask(front.url, "/api/x", ("Authorization", token)).status == 200
        with closing(connect(front.url)) as connection:
            until = time.monotonic() + 0.4
            while time.monotonic() < until:
                assert ask_on(connection, "/api/x", ("Authorization", token)).status == 200
            revoke = ask(front.site.url, f"/compat-auth/api/personal-tokens/{token_id}", ALICE, method="DELETE")
            assert revoke.status == 204
            revoked_at = time.monotonic()
            while time.monotonic() < revoked_at + 1.5:
                asked_at = time.monotonic() - revoked_at
                status = ask_on(connection, "/api/x", ("Authorization", token)).status
                if status != 401 and asked_at > 1:
                    late.append((asked_at, status))

    assert late == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_token_that_the_upstream_refuses_is_renewed(front: Front, method: str) -> None:
    body = b"a=b" * 1000 if method == "POST" else None
    token, _ = new_token(front.site)
    warm = ask(front.url, "/api/x", ("Authorization", token))
    front.site.upstream.refused.add(seen_headers(warm.seen)["authorization"])

    answer = ask(front.url, "/api/x", ("Authorization", token), method=method, body=body)

    assert (answer.status, answer.seen["size"]) == (200, len(body or b""))


@pytest.mark.parametrize(("path", "status", "body"), [("denied", 403, b"of the upstream"), ("broken", 500, b"broken")])
def test_the_upstreams_own_refusal_and_failure_stay_as_they_are(
    front: Front, path: str, status: int, body: bytes
) -> None:
    ask(front.url, "/api/x", ALICE)

    answer = ask(front.url, f"/api/{path}", ALICE)

    assert (answer.status, answer.body) == (status, body)


def test_a_request_that_fails_at_the_upstream_is_sent_once(front: Front) -> None:
    ask(front.url, "/api/x", ALICE)
    front.site.upstream.calls = 0

    ask(front.url, "/api/broken", ALICE, method="POST", body=b"a=b")

    assert front.site.upstream.calls == 1


def test_a_large_body_arrives(front: Front) -> None:
    answer = ask(front.url, "/api/x", ALICE, method="POST", body=b"x" * 20_000_000)

    assert (answer.status, answer.seen["size"]) == (200, 20_000_000)


def test_a_large_header_arrives(front: Front) -> None:
    answer = ask(front.url, "/api/x", ALICE, ("If-None-Match", "x" * 40_000))

    assert (answer.status, len(seen_headers(answer.seen)["if-none-match"])) == (200, 40_000)


def test_the_first_line_of_a_stream_arrives_before_its_end(front: Front) -> None:
    ask(front.url, "/api/x", ALICE)
    with closing(connect(front.url)) as connection:
        began = time.monotonic()
        connection.request("GET", "/api/lines", headers=dict([ALICE]))
        answer = connection.getresponse()

        first, after_s = answer.readline(), time.monotonic() - began

        assert (first, answer.read()) == (b"0\n", b"1\n2\n")
    assert after_s < 0.4


def test_a_websocket_gets_the_gateways_answer(front: Front) -> None:
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
    key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")

    answer, own = (ask(url, "/api/x", ALICE, *upgrade, key) for url in (front.url, front.site.url))

    assert (answer.status, answer.body) == (own.status, own.body)


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param("Transfer-Encoding: identity, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", id="two-codings"),
        pytest.param("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="two-lines"),
        pytest.param("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", id="unknown-coding"),
        pytest.param(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello", id="websocket-with-a-body"
        ),
        pytest.param(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            id="websocket-with-chunks",
        ),
    ],
)
def test_a_body_that_a_caller_frames_oddly_is_answered_and_no_failure_of_ours(front: Front, rest: str) -> None:
    status = status_of_post(front.url, rest)

    assert status in (200, 400, 422, 501)


@pytest.mark.parametrize("chunk", ["5x\r\nhello\r\n", "fffffffffffffffff\r\nhello\r\n", "4\r\nhello\r\n"])
def test_a_body_that_is_cut_wrongly_is_no_failure_of_the_gateway(site: Site, tmp_path: Path, chunk: str) -> None:
    running = start("caddy", site, tmp_path)
    try:
        status = status_of_post(running.url, f"Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n")
    finally:
        running.process.stop()

    assert status == 400


def status_of_post(url: str, rest: str) -> int:
    """Send a POST of the user alice whose last header lines and body are given; return the status of the first answer."""
    place = urlsplit(url)
    raw = f"POST /api/x HTTP/1.1\r\nHost: {HOST}\r\n{ALICE[0]}: {ALICE[1]}\r\n{rest}"
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
        connection.sendall(raw.encode())
        return int(connection.recv(65536).split(b" ", 2)[1])


def test_a_second_request_in_the_same_packet_is_answered_as_its_own_caller(front: Front) -> None:
    ask(front.url, "/api/x", ALICE)
    ask(front.url, "/api/x", ("Authorization", basic("bob")))
    lines = [f"GET /api/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(name)}\r\n" for name in ("alice", "bob")]
    raw = f"{lines[0]}\r\n{lines[1]}Connection: close\r\n\r\n".encode()

    address = urlsplit(front.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as connection:
        connection.sendall(raw)
        received = b""
        while piece := connection.recv(65536):
            received += piece

    users = [subject(Answer(200, [], body)) for body in re.findall(rb"\{.*?\"target\": \"[^\"]*\"\}", received)]
    assert users == ["alice", "bob"]


@pytest.fixture(scope="module", params=[name for name in PROXIES if name != "nginx-off"])
def tls_front(
    request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Front, Path]]:
    name = str(request.param)
    folder = tmp_path_factory.mktemp(f"{name}-tls")
    certificate, key = certificate_for(folder)
    if name.startswith("haproxy"):
        certificate.write_text(certificate.read_text() + key.read_text())
    running = start(name, site, folder, "--tls-cert", str(certificate), "--tls-key", str(key))
    try:
        yield running, certificate
    finally:
        running.process.stop()


def certificate_for(folder: Path) -> tuple[Path, Path]:
    """Return the certificate of localhost with the authority's own, and its key."""
    authority = Authority("CN=Servers CA")
    issued = authority.issue(
        "CN=localhost", names=[x509.DNSName("localhost")], purposes=[ExtendedKeyUsageOID.SERVER_AUTH]
    )
    certificate, key = issued.write(folder, "site")
    certificate.write_text(issued.pem + authority.pem)
    return certificate, key


@pytest.mark.parametrize("version", ["--http2", "--http1.1"])
def test_http_2_and_tls_reach_the_upstream_as_the_same_user(tls_front: tuple[Front, Path], version: str) -> None:
    front, certificate = tls_front
    command = ["curl", "-sS", version, "--cacert", str(certificate), "-H", f"Authorization: {ALICE[1]}"]
    command += ["-H", "Cookie: theme=dark; a=1", "-H", "Remote-User: forged-value"]
    command += ["-w", "\n%{http_version} %{http_code}", f"{front.url}/api/x"]

    for _ in range(3):
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
        body, _, said = done.stdout.rpartition("\n")
        answer = Answer(200, [], body.encode())
        assert said == ("2 200" if version == "--http2" else "1.1 200")
        assert subject(answer) == "alice"
        assert "forged-value" not in body
        assert seen_headers(answer.seen)["x-forwarded-proto"] == "https"


def test_over_http_2_a_warm_request_goes_straight_where_the_proxy_has_the_lane(tls_front: tuple[Front, Path]) -> None:
    front, certificate = tls_front
    command = ["curl", "-sS", "--http2", "--cacert", str(certificate), "-H", f"Authorization: {ALICE[1]}"]
    url = f"{front.url}/api/x"
    subprocess.run([*command, url], check=True, capture_output=True, timeout=30)
    front.site.seen.clear()

    subprocess.run([*command, *[url] * 10], check=True, capture_output=True, timeout=30)

    assert len(front.site.seen) <= 2 if front.has_lane else len(front.site.seen) == 10


def test_a_refusal_over_http_2_has_every_challenge(tls_front: tuple[Front, Path]) -> None:
    front, certificate = tls_front
    command = ["curl", "-sSi", "--http2", "--cacert", str(certificate), f"{front.url}/api/x"]

    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)

    challenges = [line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("www-authenticate")]
    assert sorted(word.partition(" ")[0] for word in challenges) == ["Basic", "Bearer"]


@contextmanager
def started(name: str, site: Site, folder: Path, *options: str) -> Generator[Front]:
    running = start(name, site, folder, *options)
    try:
        yield running
    finally:
        running.process.stop()


@pytest.mark.parametrize("name", WITH_LANE)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_where_the_straight_way_is_down_the_gateway_answers(site: Site, tmp_path: Path, name: str, method: str) -> None:
    with started(name, site, tmp_path, "--upstream", f"127.0.0.1:{free_port()}") as front:
        ask(front.url, "/api/x", ALICE)

        answers = [ask(front.url, "/api/x", ALICE, method=method, body=b"a=b") for _ in range(3)]

    assert [(answer.status, subject(answer), answer.seen["size"]) for answer in answers] == [(200, "alice", 3)] * 3


@pytest.mark.parametrize("name", WITH_LANE)
def test_an_upstream_cannot_lead_nginx_to_the_question(front_of: Callable[[str], Front], name: str) -> None:
    front = front_of(name)
    ask(front.url, "/api/x", ALICE)

    answer = ask(front.url, "/api/elsewhere", ALICE)

    assert (answer.status, answer.body, answer.values("authorization")) == (200, b"mine", [])


@pytest.fixture
def front_of(site: Site, tmp_path: Path) -> Iterator[Callable[[str], Front]]:
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(started(name, site, tmp_path))


@pytest.mark.parametrize("name", WITH_LANE)
def test_with_a_secret_the_proxy_shows_it_and_no_client_learns_it(tmp_path: Path, name: str) -> None:
    secret = "a-secret-of-the-front-proxy-alone-0123456789"
    with running_site(tmp_path, secret=secret) as site, started(name, site, tmp_path) as front:
        answer = [ask(front.url, "/api/x", ALICE) for _ in range(3)][-1]
        site.seen.clear()
        forged = ask(front.url, "/compat-auth/forward-auth/lane", ALICE, ("X-Compat-Auth-Proxy-Secret", "x" * 40))

        warm = ask(front.url, "/api/x", ALICE)

    assert (answer.status, warm.status, forged.status) == (200, 200, 403)
    assert site.seen == []
    assert site.asked != []
    assert secret.encode() not in answer.body + warm.body + forged.body


@pytest.mark.parametrize("name", [name for name in PROXIES if name != "nginx-off"])
def test_a_site_below_a_path_is_served_below_it(tmp_path: Path, name: str) -> None:
    with running_site(tmp_path, root="/airflow") as site, started(name, site, tmp_path) as front:
        answers = [ask(front.url, "/airflow/api/x?a=b", ALICE) for _ in range(3)]
        own = ask(front.url, "/airflow/compat-auth/whoami", ALICE)
        refused = ask(front.url, "/airflow/api/x")

    assert [(a.status, a.seen["target"], subject(a)) for a in answers] == [(200, "/airflow/api/x?a=b", "alice")] * 3
    assert own.seen["username"] == "alice"
    assert refused.status == 401


@pytest.mark.parametrize("name", [name for name in PROXIES if name != "nginx-off"])
def test_only_the_named_host_is_served(site: Site, tmp_path: Path, name: str) -> None:
    with started(name, site, tmp_path, "--server-name", HOST) as front:
        answers = [ask(front.url, "/api/x", ALICE, host=host) for host in (HOST, f"{HOST}:8443", HOST.upper())]
        site.upstream.calls = 0
        others = [ask(front.url, "/api/x", ALICE, host=host) for host in ("other.example", f"x.{HOST}", f"{HOST}.x")]

    assert [answer.status for answer in answers] == [200] * 3
    # Caddy answers 200 with nothing.
    assert [answer.body for answer in others if answer.status not in (403, 404)] == [b""] * 3 * (name == "caddy")
    assert site.upstream.calls == 0


@pytest.mark.parametrize("name", WITH_LANE)
def test_a_question_that_the_gateway_cannot_read_is_no_answer(site: Site, tmp_path: Path, name: str) -> None:
    too_large = ("Cookie", f"a={'x' * 62_000}")

    with started(name, site, tmp_path) as front:
        answer, own = (ask(url, "/api/x", ALICE, too_large) for url in (front.url, site.url))

    assert own.status == 431
    assert (answer.status, answer.body) == (own.status, own.body)


@pytest.mark.parametrize("name", PROXIES)
def test_a_host_in_the_request_line_brings_in_no_other_host(site: Site, tmp_path: Path, name: str) -> None:
    with started(name, site, tmp_path, "--server-name", HOST) as front:
        same = ask(front.url, f"http://{HOST}/api/x", ALICE)
        others = [
            ask(front.url, f"http://{line}/api/x", ALICE, host=host)
            for line, host in (
                (HOST, "other.example"),
                (HOST, f"x.{HOST}"),
                (HOST, f"{HOST}.x"),
                ("other.example", HOST),
            )
        ]

    seen = [seen_headers(answer.seen) for answer in (same, *others) if answer.status == 200 and answer.body]
    assert same.status == 200
    assert {(headers["host"], headers["x-forwarded-host"]) for headers in seen} == {(HOST, HOST)}


@pytest.mark.parametrize("name", WITH_LANE)
def test_a_token_that_only_the_upstream_checks_goes_straight_until_it_is_revoked(tmp_path: Path, name: str) -> None:
    with running_site(tmp_path, backends='["basic_auth"]') as site, started(name, site, tmp_path) as front:
        token = ask(site.url, "/auth/token", ALICE, method="POST", body=b"").seen["access_token"]
        own = ("Authorization", f"Bearer {token}")
        ask(front.url, "/api/x", own)
        site.seen.clear()
        answers = [ask(front.url, "/api/x", own) for _ in range(10)]
        straight = 10 - len(site.seen)
        form = ("Content-Type", "application/x-www-form-urlencoded")
        revoke = ask(site.url, "/compat-auth/revoke", form, method="POST", body=f"token={token}".encode())
        time.sleep(1)
        revoked = ask(front.url, "/api/x", own)
        beside = ask(front.url, "/api/x", own, ("Cookie", "_token=of-bob"))

    assert {answer.status for answer in answers} == {200}
    assert {seen_headers(answer.seen)["authorization"] for answer in answers} == {own[1]}
    assert straight >= 8
    assert (revoke.status, revoked.status, beside.status) == (200, 401, 401)


@pytest.mark.parametrize("name", WITH_LANE)
def test_where_a_replica_is_away_another_is_asked(tmp_path: Path, name: str) -> None:
    with running_site(tmp_path, secret="a-secret-of-the-front-proxy-0123456789") as site:
        alive = urlsplit(site.url).netloc
        away = [f"127.0.0.1:{free_port()}" for _ in range(3)]
        options = [word for address in (*away, alive) for word in ("--gateway", address)]
        with started(name, site, tmp_path, *options) as front:
            for user in ("alice", "bob"):
                ask(front.url, "/api/x", ("Authorization", basic(user)))
            site.seen.clear()

            answers = [
                ask(front.url, "/api/x", ("Authorization", basic(user))) for _ in range(10) for user in ("alice", "bob")
            ]

            assert [subject(answer) for answer in answers] == ["alice", "bob"] * 10
            assert len(site.seen) <= 4


@pytest.mark.parametrize("name", ["nginx-lua", "haproxy-lua"])
def test_with_lua_a_credential_is_asked_about_more_than_once_a_second_and_not_each_time(
    front_of: Callable[[str], Front], name: str
) -> None:
    front = front_of(name)
    ask(front.url, "/api/x", ALICE)
    front.site.asked.clear()
    requests, until = 0, time.monotonic() + 3

    with closing(connect(front.url)) as connection:
        while time.monotonic() < until:
            assert ask_on(connection, "/api/x", ALICE).status == 200
            requests += 1

    assert 3 <= len(front.site.asked) < requests / 4


@pytest.mark.parametrize("name", WITH_LANE)
def test_what_another_replica_revokes_is_refused_within_a_second(site: Site, tmp_path: Path, name: str) -> None:
    late: list[tuple[float, int]] = []
    settings = load_settings(str(site.config))
    with (
        started(name, site, tmp_path) as front,
        bind_socket(f"127.0.0.1:{free_port()}") as listener,
        BackgroundServer(create_app(settings), listener),
        closing(connect(front.url)) as connection,
    ):
        other = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for _ in range(3):
            token, token_id = new_token(site)
            until = time.monotonic() + 0.7
            while time.monotonic() < until:
                assert ask_on(connection, "/api/x", ("Authorization", token)).status == 200
            assert ask(other, f"/compat-auth/api/personal-tokens/{token_id}", ALICE, method="DELETE").status == 204
            revoked_at = time.monotonic()
            while (asked_at := time.monotonic() - revoked_at) < 2:
                status = ask_on(connection, "/api/x", ("Authorization", token)).status
                if status != 401 and asked_at > 1:
                    late.append((asked_at, status))

    assert late == []


CHECKED = ("nginx", "haproxy", "caddy", "apache", "envoy")


def check(proxy: str, site: Site, folder: Path, *options: str) -> Any:
    command = ["proxy-config", proxy, "--config", str(site.config), "--check", "--listen", "127.0.0.1:20080"]
    return CliRunner().invoke(commands, [*command, "--folder", str(folder), *options])


@pytest.mark.parametrize("proxy", CHECKED)
def test_the_proxys_own_check_accepts_the_configuration(site: Site, tmp_path: Path, proxy: str) -> None:
    done = check(proxy, site, tmp_path, "--program", program_of(proxy))

    assert (done.exit_code, done.exception) == (0, None)
    assert f"{proxy} accepts the configuration" in done.stderr


@pytest.mark.parametrize("proxy", CHECKED)
def test_the_check_needs_no_folder_of_its_own(site: Site, proxy: str) -> None:
    command = ["proxy-config", proxy, "--config", str(site.config), "--check", "--listen", "127.0.0.1:20080"]

    done = CliRunner().invoke(commands, [*command, "--program", program_of(proxy)])

    assert (done.exit_code, done.exception) == (0, None)


@pytest.mark.parametrize("proxy", CHECKED)
def test_what_the_proxys_own_check_refuses_is_an_error_with_the_proxys_words(
    site: Site, tmp_path: Path, proxy: str
) -> None:
    missing = str(tmp_path / "missing.pem")

    done = check(proxy, site, tmp_path, "--program", program_of(proxy), "--tls-cert", missing, "--tls-key", missing)

    assert isinstance(done.exception, ConfigError)
    assert "missing.pem" in str(done.exception)


@pytest.mark.parametrize("proxy", CHECKED)
def test_a_missing_program_is_an_error_that_says_what_to_do(site: Site, tmp_path: Path, proxy: str) -> None:
    done = check(proxy, site, tmp_path, "--program", str(tmp_path / "no-such-program"))

    assert isinstance(done.exception, BackendUnavailable)
    assert "no-such-program is missing; install it" in str(done.exception)


def test_traefik_has_no_check_and_the_command_says_so(site: Site, tmp_path: Path) -> None:
    done = check("traefik", site, tmp_path, "--output", str(tmp_path / "traefik"))

    assert isinstance(done.exception, ConfigError)
    assert "has no check of its own" in str(done.exception)

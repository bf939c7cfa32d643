"""Raw bytes at the real server: what is ambiguous is refused, and nothing that was not asked reaches the upstream."""

from __future__ import annotations

import contextlib
import time

import pytest

from corpora.cases import Case, cases, to_bytes, values_for
from support.security.gateway import Gateway, basic, parse_answers

HOST = b"Host: gateway\r\n"
ALICE = b"Authorization: " + basic() + b"\r\n"
GET = b"GET /api/v2/x HTTP/1.1\r\n" + HOST + ALICE
POST = b"POST /api/v2/x HTTP/1.1\r\n" + HOST + ALICE
CHUNKS = b"\r\n5\r\nhello\r\n0\r\n\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: "
SMUGGLED = b"GET /api/v2/smuggled HTTP/1.1\r\nHost: gateway\r\n" + ALICE + b"\r\n"

CORPUS = cases("framing")
VALUES = values_for("gateway", basic().decode(), basic("zoë").decode())
REFUSED = {case["id"]: to_bytes(case["raw"], VALUES) for case in CORPUS if case["reading"] == "two"}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_what_two_parsers_could_read_differently_is_refused_and_never_passed_on(gateway: Gateway, raw: bytes) -> None:
    received = gateway.exchange(raw, half_close=False)

    assert [answer.status for answer in parse_answers(received)][:1] == [400]
    assert [arrived for arrived in gateway.upstream.take() if arrived.complete] == []


def arriving(case: Case) -> bytes:
    """Return the body of a case as the gateway sends it on: with the chunks that the client sent."""
    body = to_bytes(case["body"], VALUES)
    if not case["chunked"]:
        return body
    return (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"


HARMLESS = {case["id"]: (to_bytes(case["raw"], VALUES), arriving(case)) for case in CORPUS if case["reading"] == "one"}


@pytest.mark.parametrize(("raw", "body"), HARMLESS.values(), ids=HARMLESS)
def test_odd_but_clear_requests_arrive_once_with_one_identity(gateway: Gateway, raw: bytes, body: bytes) -> None:
    received = gateway.exchange(raw, half_close=False)

    answers = [answer for answer in parse_answers(received) if answer.status >= 200]
    arrived = gateway.upstream.take()
    assert [answer.status for answer in answers] == [200]
    assert [(one.target, one.body, one.complete) for one in arrived] == [(b"/api/v2/x", body, True)]
    assert gateway.subject(arrived[0]) == "alice"
    assert arrived[0].request_line.split(b" ")[0] == raw.lstrip().split(b" ")[0]
    names = {name for name, _ in arrived[0].headers}
    assert names.isdisjoint({b"upgrade", b"connection", b"expect", b"x-http-method-override", b"http2-settings"})


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_connection_goes_on_behind_an_upgrade_that_is_ignored(gateway: Gateway, framing: bytes) -> None:
    end = b"0\r\n\r\n" if b"chunked" in framing else b""
    asking = POST + UPGRADE + b"h2c\r\n" + framing + b"\r\n" + end

    received = gateway.exchange(asking + asking + GET + b"Connection: close\r\n\r\n")

    assert [answer.status for answer in parse_answers(received)] == [200, 200, 200]
    assert len(gateway.upstream.take()) == 3


@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_a_refused_client_that_waits_to_send_its_body_is_told_to_and_keeps_its_connection(
    gateway: Gateway, framing: bytes
) -> None:
    asking = b"POST /api/v2/x HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\n" + framing
    body = CHUNKS[2:] if b"chunked" in framing else b"hello"

    with gateway.connect() as connection:
        connection.sendall(asking)
        received = b""
        while b'"status": 401}' not in received:
            received += connection.recv(65536)
        connection.sendall(body + GET + b"Connection: close\r\n\r\n")
        while part := connection.recv(65536):
            received += part

    assert [answer.status for answer in parse_answers(received)] == [100, 401, 200]
    assert len(gateway.upstream.take()) == 1


@pytest.mark.parametrize("framed", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n" + CHUNKS])
def test_a_client_that_sends_its_expected_body_unasked_keeps_its_connection(gateway: Gateway, framed: bytes) -> None:
    asking = b"POST /api/v2/x HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\n" + framed

    received = gateway.exchange(asking + GET + b"Connection: close\r\n\r\n")

    assert [answer.status for answer in parse_answers(received)] == [401, 200]


def test_an_expectation_in_1_0_is_ignored(gateway: Gateway) -> None:
    asking = POST.replace(b"/1.1", b"/1.0") + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"

    received = gateway.exchange(asking)

    assert [answer.status for answer in parse_answers(received)] == [200]
    (arrived,) = gateway.upstream.take()
    assert arrived.body == b"hello"


@pytest.mark.parametrize("path", [b"/compat-auth/live", b"/compat-auth/ready"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("host", [b"", b"Host:\r\n"], ids=["no-host", "empty-host"])
def test_a_health_check_needs_no_host(gateway: Gateway, path: bytes, version: bytes, host: bytes) -> None:
    received = gateway.exchange(b"GET %s HTTP/%s\r\n%s\r\n" % (path, version, host), half_close=False)

    assert [answer.status for answer in parse_answers(received)] == [200]


def test_the_plain_check_of_a_load_balancer_is_answered_as_ready(gateway: Gateway) -> None:
    received = gateway.exchange(b"OPTIONS / HTTP/1.0\r\n\r\n")

    (answer,) = parse_answers(received)
    assert (answer.status, answer.rest) == (200, b'{"status":"ready"}')
    assert gateway.upstream.take() == []


def test_a_request_without_host_goes_on_with_the_upstreams_own(gateway: Gateway) -> None:
    gateway.exchange(b"GET /api/v2/x HTTP/1.0\r\n" + ALICE + b"\r\n")

    (arrived,) = gateway.upstream.take()
    assert arrived.values(b"host") == [b"127.0.0.1:%d" % gateway.upstream.port]
    assert arrived.values(b"x-forwarded-host") == []


def test_the_absolute_form_goes_on_as_a_path_with_its_host(gateway: Gateway) -> None:
    gateway.exchange(b"GET http://gateway/api/v2/x HTTP/1.0\r\n" + ALICE + b"\r\n")

    (arrived,) = gateway.upstream.take()
    assert arrived.values(b"host") == [b"gateway"]


def test_a_refused_request_line_says_what_to_send(gateway: Gateway) -> None:
    received = gateway.exchange(GET.replace(b"/api", b"http://other/api") + b"\r\n", half_close=False)

    (answer,) = parse_answers(received)
    assert b"its host is not that of the Host header; send the same one" in answer.rest


def test_the_body_of_a_request_that_asks_for_an_upgrade_is_never_the_next_request(gateway: Gateway) -> None:
    head = b"POST /static/x HTTP/1.1\r\n" + HOST + UPGRADE + b"h2c\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED)

    with gateway.connect() as connection:
        for part in (head, SMUGGLED[:10], SMUGGLED[10:] + GET + b"Connection: close\r\n\r\n"):
            connection.sendall(part)
            time.sleep(0.1)
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    arrived = gateway.upstream.take()
    assert [answer.status for answer in parse_answers(received)] == [200, 200]
    assert [(one.target, one.body) for one in arrived] == [(b"/static/x", SMUGGLED), (b"/api/v2/x", b"")]


@pytest.mark.parametrize(
    "trailer",
    [ALICE, b"X-Forwarded-For: 10.0.0.1\r\n", b"Host: other\r\n", b"Cookie: _token=x\r\n"],
)
def test_a_trailer_is_never_taken_for_a_header(gateway: Gateway, trailer: bytes) -> None:
    head = b"POST /api/v2/x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n"

    received = gateway.exchange(head + CHUNKS[:-2] + trailer + b"\r\n", half_close=False)

    assert [answer.status for answer in parse_answers(received)] == [401]
    assert gateway.upstream.take() == []


def test_a_trailer_behind_an_accepted_request_does_not_reach_the_upstream(gateway: Gateway) -> None:
    raw = POST + b"Transfer-Encoding: chunked\r\n" + CHUNKS[:-2] + b"X-Remote-User: root\r\nX-A: a\r\n\r\n"

    gateway.exchange(raw, half_close=False)

    (arrived,) = gateway.upstream.take()
    assert arrived.body == CHUNKS[2:]
    assert b"X-A" not in arrived.head


@pytest.mark.parametrize("broken", [b"5\r\nhe", b"ZZ\r\nhello"], ids=["cut-off", "malformed"])
def test_a_body_that_breaks_off_never_arrives_as_a_whole_one(gateway: Gateway, broken: bytes) -> None:
    with gateway.connect() as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + broken)
        time.sleep(0.3)
    time.sleep(0.5)

    assert [arrived.complete for arrived in gateway.upstream.take()] in ([False], [])


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (b"GET /api/v2/x HTTP/1.1\r\n" + HOST + b"Authorization: " + basic(password="wrong") + b"\r\n\r\n", 401),
        (b"GET /api/../x HTTP/1.1\r\n" + HOST + ALICE + b"\r\n", 400),
        (GET + b"\r\n", 200),
    ],
    ids=["wrong-password", "bad-path", "accepted"],
)
def test_a_pipelined_request_has_only_its_own_credentials(gateway: Gateway, first: bytes, status: int) -> None:
    second = b"GET /api/v2/second HTTP/1.1\r\n" + HOST + b"\r\n"

    received = gateway.exchange(first + second, half_close=False)

    assert [answer.status for answer in parse_answers(received)] == [status, 401]
    assert b"/api/v2/second" not in [arrived.target for arrived in gateway.upstream.take()]


def test_pipelined_requests_of_two_users_keep_their_identities_and_order(gateway: Gateway) -> None:
    names = [f"user{number}" for number in range(20)]
    raw = b"".join(
        b"GET /api/%s HTTP/1.1\r\n%sAuthorization: %s\r\n\r\n" % (name.encode(), HOST, basic(name)) for name in names
    )

    received = gateway.exchange(raw, half_close=False)

    arrived = gateway.upstream.take()
    assert [answer.status for answer in parse_answers(received)] == [200] * 20
    assert [(one.target.decode(), gateway.subject(one)) for one in arrived] == [
        (f"/api/{name}", name) for name in names
    ]


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param((GET + b"X-A: ", b"a" * 65536), id="value"),
        pytest.param((GET, b"a" * 65536), id="name"),
        pytest.param((GET, b"X-A: a\r\n" * 8192), id="headers"),
        pytest.param((b"GET /", b"a" * 65536), id="target"),
        pytest.param((b"", b"\r\n" * 32768), id="empty-lines"),
        pytest.param((POST + b"Transfer-Encoding: chunked\r\n\r\n5;", b"a" * 65536), id="chunk-extension"),
        pytest.param((POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: ", b"a" * 65536), id="trailer"),
        pytest.param((POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: a\r\n" * 8192), id="trailers"),
    ],
)
def test_what_never_ends_is_ended_before_it_fills_the_memory(gateway: Gateway, endless: tuple[bytes, bytes]) -> None:
    start, more = endless
    before = gateway.memory_bytes
    sent = 0

    with gateway.connect() as connection, contextlib.suppress(ConnectionError):
        connection.sendall(start)
        while sent < 64 * 2**20:
            connection.sendall(more)
            sent += len(more)

    assert sent < 16 * 2**20
    assert gateway.memory_bytes - before < 16 * 2**20


def test_a_header_section_above_the_limit_is_answered_431(gateway: Gateway) -> None:
    received = gateway.exchange(GET + b"X-A: " + b"a" * 65536 + b"\r\n\r\n", half_close=False)

    assert [answer.status for answer in parse_answers(received)] == [431]
    assert gateway.upstream.take() == []


@pytest.mark.parametrize(
    "headers",
    [
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: not-a-key\r\n",
        b"Sec-WebSocket-Version: 13\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(300)),
        b"X-A: \xe9\r\n",
    ],
    ids=["proper", "bad-key", "many-headers", "latin-1"],
)
def test_a_websocket_is_refused_in_words_that_say_what_to_do(gateway: Gateway, headers: bytes) -> None:
    received = gateway.exchange(GET + UPGRADE + b"websocket\r\n" + headers + b"\r\n", half_close=False)

    (answer,) = parse_answers(received)
    assert answer.status == 501
    assert b"WebSocket connections are not passed on; call the upstream directly" in answer.rest
    assert gateway.upstream.take() == []


def test_trace_is_refused_because_it_echoes_credentials(gateway: Gateway) -> None:
    received = gateway.exchange(GET.replace(b"GET", b"TRACE") + b"\r\n", half_close=False)

    assert [answer.status for answer in parse_answers(received)] == [501]
    assert gateway.upstream.take() == []


@pytest.mark.parametrize(
    "value",
    ["zoë".encode(), "zoë".encode("latin-1"), b"\xe9\xff\x80", "ë".encode() + b"\xeb", b"a\xc3", b"\xed\xb2\x80"],
    ids=["utf-8", "latin-1", "bytes", "both", "half", "surrogate"],
)
@pytest.mark.parametrize("body", [b"", b"hello", b"\r\n\r\n" * 40_000], ids=["no-body", "body", "large-body"])
def test_header_values_beyond_ascii_arrive_byte_for_byte(gateway: Gateway, value: bytes, body: bytes) -> None:
    headers = b"X-A: %s\r\nX-A: plain\r\nContent-Length: %d\r\n\r\n" % (value, len(body))

    received = gateway.exchange(POST + headers + body, half_close=False)

    (arrived,) = gateway.upstream.take()
    assert [answer.status for answer in parse_answers(received)] == [200]
    assert arrived.values(b"x-a") == [value, b"plain"]
    assert arrived.body == body


def test_identity_forward_and_our_own_headers_are_dropped(gateway: Gateway) -> None:
    spoofed = {
        b"X-Remote-User": b"root",
        b"X-Forwarded-User": b"root",
        b"X-Forwarded-For": b"10.0.0.1",
        b"X-Forwarded-Host": b"evil",
        b"X-Forwarded-Uri": b"/",
        b"X-Original-URL": b"/admin",
        b"X-Envoy-Original-Path": b"/",
        b"X-Compat-Auth-Cookie": b"a=b",
        b"Forwarded": b"for=10.0.0.1",
    }

    gateway.ask("/api/v2/x", (b"Authorization", basic()), *spoofed.items())

    (arrived,) = gateway.upstream.take()
    own = {b"x-forwarded-for": b"127.0.0.1", b"x-forwarded-host": b"gateway"}
    for name in spoofed:
        assert arrived.values(name.lower()) == ([own[name.lower()]] if name.lower() in own else [])


@pytest.mark.parametrize(
    "cookie",
    [
        case["headers"][0][1].encode("latin-1").removeprefix(b"kept=1;")
        for case in cases("headers")
        if case["kind"] == "cookie"
    ],
)
def test_an_accepted_credential_leaves_no_identity_cookie_in_any_reading(gateway: Gateway, cookie: bytes) -> None:
    gateway.ask("/api/v2/x", (b"Authorization", basic()), (b"Cookie", b"kept=1;" + cookie))

    (arrived,) = gateway.upstream.take()
    left = b";".join(arrived.values(b"cookie"))
    assert b"_token" not in left
    assert b"session" not in left
    assert b"kept=1" in left

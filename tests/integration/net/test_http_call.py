"""One HTTP question: the whole answer in time, or none."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

import compat_auth
from compat_auth.errors import BackendUnavailable
from compat_auth.net.http_call import MAX_HEAD_BYTES, HttpPeer, NoAnswer
from compat_auth.net.https_client import Endpoint
from compat_auth.tokens.upstream_login import UpstreamLogin

Talk = Callable[[socket.socket], None]


@contextlib.contextmanager
def peer_that(talk: Talk) -> Generator[HttpPeer]:
    """Listen for one connection and talk on it, as no HTTP library would."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            talk(connection)
            # To close with bytes that nobody has read resets the connection, and the answer with it.
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(5)
            while connection.recv(65536):
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield HttpPeer("127.0.0.1", listener.getsockname()[1], None, 1, 0.5, max_body_bytes=100)
    finally:
        thread.join()
        listener.close()


def saying(answer: bytes) -> Talk:
    return lambda connection: connection.sendall(answer)


def dripping(start: bytes, drop: bytes) -> Talk:
    def drip(connection: socket.socket) -> None:
        connection.sendall(start)
        for _ in range(40):
            connection.sendall(drop)
            time.sleep(0.05)

    return drip


DRIPS = {
    "status line": dripping(b"HTTP/1.1 20", b"0"),
    "head": dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
    "interim answers": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n", b"a"),
    "body without a length": dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"a"),
    "chunk size": dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailer": dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a"),
}


@pytest.mark.parametrize("talk", DRIPS.values(), ids=DRIPS)
def test_an_answer_that_drips_is_given_up_at_the_deadline(talk: Talk) -> None:
    with peer_that(talk) as peer:
        started = time.monotonic()
        with pytest.raises(NoAnswer, match="too slowly"):
            peer.ask("GET", "/", None, {})
        took_s = time.monotonic() - started

    assert took_s < 1.2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 201",
        b"HTTP/1.1 201 Created\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Ty",
        b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsho",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
    ],
)
def test_an_answer_that_is_cut_off_is_none(answer: bytes) -> None:
    with peer_that(saying(answer)) as peer, pytest.raises(NoAnswer):
        peer.ask("GET", "/", None, {})


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101,
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101,
        b"HTTP/1.1 200 OK\r\n" + b"X-Much: %s\r\n" % (b"x" * 1000) * (MAX_HEAD_BYTES // 500) + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_HEAD_BYTES,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"1;%s\r\nx\r\n" % (b"e" * 60_000)) * 90,
    ],
)
def test_an_answer_that_is_too_long_is_none(answer: bytes) -> None:
    with peer_that(saying(answer)) as peer, pytest.raises(NoAnswer):
        peer.ask("GET", "/", None, {})


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 302 Found\r\n\r\nto the end", b"to the end"),
        (b"HTTP/1.1 302 Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    ],
)
def test_a_whole_answer_is_given_as_it_came(answer: bytes, body: bytes) -> None:
    with peer_that(saying(answer)) as peer:
        found = peer.ask("POST", "/", b"x", {})

    assert (found.status, found.body) == (302, body)


def test_who_holds_the_connection_open_after_the_answer_holds_nobody() -> None:
    def stay(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        connection.recv(1)

    with peer_that(stay) as peer:
        started = time.monotonic()
        found = peer.ask("GET", "/", None, {})
        took_s = time.monotonic() - started

    assert found.body == b"ok"
    assert took_s < 0.4


def login_of(peer: HttpPeer) -> UpstreamLogin:
    return UpstreamLogin("127.0.0.1", peer.port, "/auth/token", None, 0.5, 0.5)


def endpoint_of(peer: HttpPeer) -> Endpoint:
    origin = ("http", "127.0.0.1", peer.port)
    return Endpoint(f"http://127.0.0.1:{peer.port}/x", origin, "/x", None, 0.5, 0.5)


QUESTIONS: dict[str, Callable[[HttpPeer], object]] = {
    "login": lambda peer: login_of(peer).log_in("u", "p"),
    "logout": lambda peer: login_of(peer).log_out("a.b.c"),
    "question whether there is a login": lambda peer: login_of(peer).takes_passwords(),
    "new user": lambda peer: login_of(peer).add("/users", {"username": "u"}, "a.b.c"),
    "document": lambda peer: endpoint_of(peer).get(),
    "form": lambda peer: endpoint_of(peer).post_form({"a": "b"}),
    "notice": lambda peer: endpoint_of(peer).post(b"{}", {"Content-Type": "application/json"}),
}
ASKED = pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)


@ASKED
@pytest.mark.parametrize("talk", [DRIPS["head"], DRIPS["body"]], ids=["head", "body"])
def test_whoever_asks_gives_up_at_one_deadline_for_the_whole_answer(
    ask: Callable[[HttpPeer], object], talk: Talk
) -> None:
    with peer_that(talk) as peer:
        started = time.monotonic()
        with pytest.raises(BackendUnavailable, match="too slowly"):
            ask(peer)
        took_s = time.monotonic() - started

    assert took_s < 1.2


@ASKED
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n",
        b'HTTP/1.1 201 Created\r\nContent-Length: 90\r\n\r\n{"access_token": "a.b.c"}',
        b'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n19\r\n{"access_token": "a.b.c"}\r\n',
    ],
    ids=["head", "body", "last chunk"],
)
def test_whoever_asks_takes_no_answer_that_is_cut_off(ask: Callable[[HttpPeer], object], answer: bytes) -> None:
    with peer_that(saying(answer)) as peer, pytest.raises(BackendUnavailable):
        ask(peer)


def test_there_is_one_http_client() -> None:
    package = Path(compat_auth.__file__).parent
    other = re.compile(r"^\s*(?:import|from) (?:http\.client|urllib\.request|urllib3|requests|httpx)\b", re.MULTILINE)

    found = {
        path.relative_to(package).as_posix() for path in package.rglob("*.py") if other.search(path.read_text("utf-8"))
    }

    # The client is for programs that have requests or httpx; the upstream of the demo asks for keys on loopback.
    assert found == {"net/http_call.py", "client/for_requests.py", "client/for_httpx.py", "cli/demo/upstream.py"}


def test_a_tls_handshake_that_never_ends_is_given_up() -> None:
    context = ssl.create_default_context()

    with peer_that(lambda connection: time.sleep(1.5)) as peer:
        slow = HttpPeer("127.0.0.1", peer.port, context, 0.3, 0.3, max_body_bytes=100)
        started = time.monotonic()
        with pytest.raises(NoAnswer):
            slow.ask("GET", "/", None, {})
        took_s = time.monotonic() - started

    assert took_s < 1

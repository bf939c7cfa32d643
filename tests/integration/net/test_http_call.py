"""One HTTP question: the whole answer in time, or none."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator

import pytest

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

    thread = threading.Thread(target=serve)
    thread.start()
    yield HttpPeer("127.0.0.1", listener.getsockname()[1], None, 1, 0.5, max_body_bytes=100)
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


def test_the_upstreams_login_and_every_endpoint_give_a_dripping_head_up() -> None:
    asked: list[Callable[[HttpPeer], object]] = [
        lambda peer: UpstreamLogin("127.0.0.1", peer.port, "/auth/token", None, 0.5, 0.5).log_in("u", "p"),
        lambda peer: Endpoint(
            f"http://127.0.0.1:{peer.port}/x", ("http", "127.0.0.1", peer.port), "/x", None, 0.5, 0.5
        ).get(),
    ]
    took: list[float] = []

    for ask in asked:
        with peer_that(DRIPS["head"]) as peer:
            started = time.monotonic()
            with pytest.raises(BackendUnavailable):
                ask(peer)
            took.append(time.monotonic() - started)

    assert max(took) < 1.2


def test_a_tls_handshake_that_never_ends_is_given_up() -> None:
    context = ssl.create_default_context()

    with peer_that(lambda connection: time.sleep(1.5)) as peer:
        slow = HttpPeer("127.0.0.1", peer.port, context, 0.3, 0.3, max_body_bytes=100)
        started = time.monotonic()
        with pytest.raises(NoAnswer):
            slow.ask("GET", "/", None, {})
        took_s = time.monotonic() - started

    assert took_s < 1

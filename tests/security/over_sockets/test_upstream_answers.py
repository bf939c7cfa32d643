"""An upstream that answers nonsense, or with secrets in it: the client gets a 502, the log gets no secret."""

from __future__ import annotations

import contextlib
import socketserver
import threading
import time
from collections.abc import Generator

import pytest

from support.security.gateway import Gateway, running_gateway, write_config
from support.security.upstream import Recorder

CANARY = b"canary-77aa01"
_OK = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=" + CANARY + b"\r\n"
NONSENSE = {
    "status-unknown": b"HTTP/1.1 999 OK\r\nContent-Length: 2\r\n\r\nhi",
    "upgrade-nobody-asked-for": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "control-character": _OK + b"X-A: a\x01b\r\nContent-Length: 2\r\n\r\nhi",
    "bad-name": _OK + b"X(A: a\r\nContent-Length: 2\r\n\r\nhi",
    "two-lengths": _OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    "length-and-chunked": _OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "no-http": CANARY + b"\r\n\r\n",
    "nothing": b"",
}


class _Nonsense(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError, IndexError):
            name = self.request.recv(65536).split(b" ")[1].partition(b"?")[0].strip(b"/").decode()
            self.request.sendall(NONSENSE.get(name, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"))
            time.sleep(0.05)


@pytest.fixture(scope="module")
def before_nonsense(tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Nonsense) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = write_config(tmp_path_factory.mktemp("nonsense"), f"http://127.0.0.1:{server.server_address[1]}")
        with running_gateway(config, Recorder()) as gateway:
            yield gateway
        server.shutdown()


@pytest.mark.parametrize("name", NONSENSE)
def test_a_nonsensical_answer_is_a_502_and_not_quoted_anywhere(before_nonsense: Gateway, name: str) -> None:
    answer = before_nonsense.ask(f"/{name}?token={CANARY.decode()}")

    log = before_nonsense.log.read_bytes()
    assert answer.status == 502
    assert CANARY not in answer.rest
    assert CANARY not in log
    assert b"Traceback" not in log


def test_a_304_that_tells_the_length_of_another_answer_keeps_the_connection(before_nonsense: Gateway) -> None:
    request = b"GET /fresh HTTP/1.1\r\nHost: gateway\r\n\r\n"

    received = before_nonsense.exchange(request * 2, half_close=False)

    assert received.count(b"HTTP/1.1 304") == 2
    assert b"Traceback" not in before_nonsense.log.read_bytes()

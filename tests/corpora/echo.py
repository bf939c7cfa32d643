"""An upstream for the runner: it answers every request with what arrived, and lists what has arrived.

It forgives what a strict server would refuse, so that a front proxy cannot hide behind it. Standard library only.
Not for production. `python tests/corpora/echo.py --port 9000` serves until it is interrupted.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import socketserver
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

ARRIVED = "/corpora-arrived"
"""A request whose path ends so is answered with the requests since the last such one, and is not kept itself."""
_LENGTH = re.compile(rb"\r?\ncontent-length[ \t]*:[ \t]*\+?([0-9]{1,9})[ \t]*\r?\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r?\ntransfer-encoding[ \t]*:[^\n]*chunked", re.IGNORECASE)
_EXPECTS = re.compile(rb"\nexpect[ \t]*:[ \t]*100-continue", re.IGNORECASE)
_LONGEST_HEAD = 2**20
Arrived = dict[str, Any]


class Echo:
    """The requests that have arrived."""

    def __init__(self) -> None:
        self._kept: list[Arrived] = []
        self._lock = threading.Lock()

    def keep(self, arrived: Arrived) -> None:
        with self._lock:
            self._kept.append(arrived)

    def take(self) -> list[Arrived]:
        """Return what has arrived since the last look, and forget it."""
        with self._lock:
            taken, self._kept = self._kept, []
        return taken


class _Handler(socketserver.BaseRequestHandler):
    echo: ClassVar[Echo]

    def handle(self) -> None:
        connection: socket.socket = self.request
        connection.settimeout(60)
        with suppress(OSError):
            held = b""
            while (held := self._serve_one(connection, held)) is not None:  # type: ignore[assignment]  # None ends the loop
                pass

    def _serve_one(self, connection: socket.socket, held: bytes) -> bytes | None:
        """Answer one request; return the bytes behind it, or None at the end of the connection."""
        while b"\r\n\r\n" not in held:
            part = connection.recv(65536) if len(held) < _LONGEST_HEAD else b""
            if not part:
                if held:
                    self.echo.keep(_arrived(held, b"", complete=False))
                return None
            held += part
        head, _, held = held.partition(b"\r\n\r\n")
        head += b"\r\n\r\n"
        if _EXPECTS.search(head):
            # Some proxies send the body only then.
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body: bytes | None = b""
        if _CHUNKED.search(head):
            body, held = _read_chunks(connection, held)
        elif length := _LENGTH.search(head):
            size = int(length[1])
            while len(held) < size and (part := connection.recv(65536)):
                held += part
            body, held = (held[:size] if len(held) >= size else None), held[size:]
        arrived = _arrived(head, body or b"", complete=body is not None)
        if arrived["target"].partition("?")[0].endswith(ARRIVED):
            _answer(connection, head, self.echo.take())
            return held
        self.echo.keep(arrived)
        if body is None:
            return None
        _answer(connection, head, arrived)
        return held


def _read_chunks(connection: socket.socket, held: bytes) -> tuple[bytes | None, bytes]:
    """Return the body without its chunks (None: it broke off) and the bytes behind it."""
    body = b""
    while True:
        while b"\r\n" not in held:
            part = connection.recv(65536)
            if not part:
                return None, b""
            held += part
        line, _, held = held.partition(b"\r\n")
        try:
            size = int(line.partition(b";")[0].strip() or b"0", 16)
        except ValueError:
            return None, b""
        if size == 0:
            return _skip_trailers(connection, body, held)
        while len(held) < size + 2:
            part = connection.recv(65536)
            if not part:
                return None, b""
            held += part
        body, held = body + held[:size], held[size + 2 :]


def _skip_trailers(connection: socket.socket, body: bytes, held: bytes) -> tuple[bytes | None, bytes]:
    while True:
        line, end, rest = held.partition(b"\r\n")
        if end:
            held = rest
            if not line:
                return body, held
            continue
        part = connection.recv(65536)
        if not part:
            return None, b""
        held += part


def _arrived(head: bytes, body: bytes, *, complete: bool) -> Arrived:
    request_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, _, rest = request_line.partition(" ")
    target, _, version = rest.rpartition(" ")
    headers = [[name, value.strip()] for name, _, value in (line.partition(":") for line in lines)]
    body_text = body.decode("latin-1")
    return {
        "method": method,
        "target": target,
        "version": version,
        "headers": headers,
        "body": body_text,
        "complete": complete,
    }


def _answer(connection: socket.socket, head: bytes, content: object) -> None:
    body = json.dumps(content).encode()
    start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.sendall(start + (b"" if head.startswith(b"HEAD ") else body))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


@contextmanager
def running_echo(port: int = 0) -> Generator[tuple[Echo, str]]:
    """Serve on loopback until the end of the block; yield what has arrived, and the URL."""
    echo = Echo()
    with _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"echo": echo})) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield echo, f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9000)
    with running_echo(parser.parse_args().port) as (_, served_at), suppress(KeyboardInterrupt):
        sys.stdout.write(f"{served_at}: answers with what arrives; Ctrl-C ends it\n")
        sys.stdout.flush()
        threading.Event().wait()

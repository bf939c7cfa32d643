"""An upstream that keeps what it was sent, byte for byte."""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import ClassVar

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Arrived:
    """One request as the upstream got it."""

    head: bytes
    body: bytes
    complete: bool

    @property
    def request_line(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    @property
    def target(self) -> bytes:
        return self.request_line.split(b" ")[1]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        lines = self.head.rstrip(b"\r\n").split(b"\r\n")[1:]
        return [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]

    def values(self, name: bytes) -> list[bytes]:
        """Return every value of a header; the name is lower case."""
        return [value for header, value in self.headers if header == name]


@dataclass
class Recorder:
    """What has arrived since somebody last looked."""

    port: int = 0
    _arrived: list[Arrived] = field(default_factory=list[Arrived])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, arrived: Arrived) -> None:
        with self._lock:
            self._arrived.append(arrived)

    def take(self) -> list[Arrived]:
        """Return what has arrived, and forget it."""
        with self._lock:
            taken, self._arrived = self._arrived, []
        return taken


class _Handler(socketserver.BaseRequestHandler):
    recorder: ClassVar[Recorder]

    def handle(self) -> None:
        connection: socket.socket = self.request
        connection.settimeout(30)
        with contextlib.suppress(OSError):
            self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        held = b""
        while True:
            while b"\r\n\r\n" not in held:
                part = connection.recv(65536)
                if not part:
                    if held:
                        self.recorder.keep(Arrived(held, b"", complete=False))
                    return
                held += part
            head, held = held.split(b"\r\n\r\n", 1)
            head += b"\r\n\r\n"
            length = _LENGTH.search(head)
            chunked = _CHUNKED.search(head)
            while (chunked and not held.endswith(b"0\r\n\r\n")) or (length and len(held) < int(length[1])):
                part = connection.recv(65536)
                if not part:
                    self.recorder.keep(Arrived(head, held, complete=False))
                    return
                held += part
            size = len(held) if chunked else int(length[1]) if length else 0
            body, held = held[:size], held[size:]
            self.recorder.keep(Arrived(head, body, complete=True))
            answer = b"" if head.startswith(b"HEAD ") else b"hello"
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n" + answer)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512


@contextlib.contextmanager
def recording_upstream() -> Generator[Recorder]:
    """Serve on a free port until the end of the block."""
    recorder = Recorder()
    handler = type("Handler", (_Handler,), {"recorder": recorder})
    with _Server(("127.0.0.1", 0), handler) as server:
        recorder.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield recorder
        server.shutdown()

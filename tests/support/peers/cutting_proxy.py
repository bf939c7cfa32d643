"""A proxy in front of a real upstream that ends one connection at a chosen call: before the call, or after it is carried out."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Generator
from contextlib import contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from support.peers.gateway import call

# RFC 9112 9: what a proxy keeps to itself; the length is its own, as the body is whole.
_OWN = frozenset(("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"))


class Cut(Enum):
    """Where a connection ends."""

    BEFORE = "before the upstream has heard of the call"
    AFTER = "after the upstream has carried the call out, before its answer"
    WITHIN = "in the middle of the upstream's answer"


class CuttingProxy:
    """The proxy.

    Attributes:
        url: Without a slash at the end.
        lines: Method and path of each call since the last `cutting`.
    """

    def __init__(self, upstream: str) -> None:
        self.lines: list[str] = []
        self._upstream = upstream
        self._cuts: dict[int, Cut] = {}
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the base class
                """Say nothing."""

            def __getattr__(self, name: str) -> object:
                if name.startswith("do_"):
                    return lambda: proxy.pass_on(self)
                raise AttributeError(name)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @contextmanager
    def running(self) -> Generator[CuttingProxy]:
        """Serve within the block."""
        self._thread.start()
        yield self
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def cutting(self, cut: Cut, *numbers: int) -> Generator[None]:
        """End the connection at the calls of these numbers, counted from 1, within the block."""
        self.lines.clear()
        self._cuts = dict.fromkeys(numbers, cut)
        yield
        self._cuts = {}

    def pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        """Pass a call on and its answer back, unless it is to be cut."""
        length = int(handler.headers.get("Content-Length", 0))
        body = handler.rfile.read(length)
        with self._lock:
            self.lines.append(f"{handler.command} {urlsplit(handler.path).path}")
            cut = self._cuts.get(len(self.lines))
        if cut is Cut.BEFORE:
            _reset(handler)
            return
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in _OWN}
        answer = call(handler.command, self._upstream + handler.path, headers=headers, data=body or None)
        if cut is Cut.AFTER:
            _reset(handler)
            return
        if cut is Cut.WITHIN and not answer.content:
            handler.wfile.write(b"HTTP/1.1 2")
            _reset(handler)
            return
        handler.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in _OWN:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.content) + (cut is Cut.WITHIN)))
        handler.end_headers()
        handler.wfile.write(answer.content)
        if cut is Cut.WITHIN:
            _reset(handler)


def _reset(handler: BaseHTTPRequestHandler) -> None:
    """End a connection as a process that dies does: with a reset, not with a farewell."""
    handler.wfile.flush()
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.shutdown(socket.SHUT_RD)
    handler.rfile.close()
    handler.wfile.close()
    handler.connection.close()

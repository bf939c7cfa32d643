"""Answers `GET /metrics` on a listener of its own, and nothing else.

The server is a few lines, so that a scrape needs none of the gateway's places for connections: metrics matter most when
those are taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable

from compat_auth.gateway.telemetry.scrape import Surroundings
from compat_auth.telemetry.counts import Snapshot, merge
from compat_auth.telemetry.exposition import expose

logger = logging.getLogger("compat_auth.metrics")

PATH = "/metrics"
_HEAD_S = 5.0
_MAX_HEAD_BYTES = 16 * 1024
_MAX_CONNECTIONS = 16
_PHRASES = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class MetricsListener:
    """The server of one process.

    Args:
        surroundings: The values that are the same for all workers.
        numbers: Returns the numbers of all workers.
    """

    def __init__(self, surroundings: Surroundings, numbers: Callable[[], Snapshot]) -> None:
        self._surroundings = surroundings
        self._numbers = numbers
        self._server: asyncio.Server | None = None
        self._open = 0

    async def open(self, listener: socket.socket) -> None:
        """Answer on this socket from now on."""
        listener.setblocking(False)
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=_MAX_HEAD_BYTES)

    def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                writer.write(await self._answer(reader))
        except Exception:  # noqa: BLE001  # one scrape must not end the server; its text could hold what was sent
            logger.error("metrics: a scrape failed")  # noqa: TRY400  # no traceback: see above
        finally:
            await _close(writer)
            self._open -= 1

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        if self._open > _MAX_CONNECTIONS:
            return _response(503, b"too many scrapes at once\n")
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_S)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return _response(400, b"no request of HTTP/1.1\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        method, _, rest = line.partition(" ")
        target, _, version = rest.partition(" ")
        if not version.startswith("HTTP/1."):
            return _response(400, b"no request of HTTP/1.1\n")
        if target.partition("?")[0] != PATH:
            return _response(404, b"only /metrics is here\n")
        if method not in ("GET", "HEAD"):
            return _response(405, b"only GET\n", allow="GET, HEAD")
        headers = {name.strip().lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
        numbers = merge([self._numbers(), await self._surroundings.numbers()])
        body, media_type = expose(numbers, headers.get("accept", ""))
        return _response(200, body, media_type=media_type, sends_body=method == "GET")


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close a connection once its answer is sent; a client that does not read loses the rest of it."""
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), _HEAD_S)
    except (OSError, TimeoutError):
        writer.transport.abort()


def _response(
    status: int, body: bytes, *, media_type: str = "text/plain; charset=utf-8", sends_body: bool = True, allow: str = ""
) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {_PHRASES[status]}",
        f"content-type: {media_type}",
        f"content-length: {len(body)}",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "connection: close",
        *([f"allow: {allow}"] if allow else []),
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + (body if sends_body else b"")

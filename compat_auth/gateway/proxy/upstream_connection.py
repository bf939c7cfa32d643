"""Sends a request on a connection of aiohttp: never on one that the upstream has closed, and byte for byte.

aiohttp notices only after it has sent a request that an idle connection was closed, and then nobody knows whether a
POST was processed. So we keep a connection for less time than the upstream does, and check it before use.
"""

from __future__ import annotations

import asyncio
import math
import re
import secrets
import select
import time
from typing import Any, cast
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDict

_TIMEOUT = re.compile(r"(?:^|[,\s])timeout\s*=\s*([0-9]{1,9})(?![0-9])", re.IGNORECASE)
KEEP_ALIVE_MARGIN_S = 1.0
"""How much sooner than the upstream we close a connection, because the answer and our request both take time."""
# Until when, by the monotonic clock, a connection may be used again: as its last answer said.
_ENDS: WeakKeyDictionary[object, float] = WeakKeyDictionary()
# What readable means on a connection that nothing was asked on: its end, or bytes that belong to no answer.
_STIRS = select.POLLIN | select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


class StaleConnection(aiohttp.ClientConnectionError):
    """A kept connection has ended; nothing of the request was sent on it."""


class UpstreamRequest(aiohttp.ClientRequest):
    """A request whose header values are the bytes of its text, decoded by `header_text`."""

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Send it.

        Raises:
            StaleConnection: Before anything was sent; another connection may be tried.
        """
        protocol = conn.protocol
        transport = None if protocol is None else protocol.transport
        # A new one that ends at once is no stale one: there would be no end of trying.
        if protocol is not None and protocol in _ENDS and _has_ended(protocol, transport):
            raise StaleConnection("the upstream has closed the connection, or is about to")
        raw = self._with_placeholders()
        if raw and protocol is not None and transport is not None:
            protocol.transport = cast("asyncio.Transport", _HeadWriter(protocol, transport, raw))
        return await super().send(conn)

    def _with_placeholders(self) -> dict[bytes, bytes]:
        """Replace bytes that are not UTF-8 by ASCII; return the bytes to send in its place."""
        if all(value.isascii() for value in self.headers.values()):
            return {}
        raw: dict[bytes, bytes] = {}
        headers: CIMultiDict[str] = CIMultiDict()
        for name, value in self.headers.items():
            sent = value.encode("utf-8", "surrogateescape")
            if not value.isascii() and any("\udc80" <= character <= "\udcff" for character in value):
                # Nobody can guess it, so nobody can have it replaced elsewhere in a head.
                value = secrets.token_hex(16)  # noqa: PLW2901  # the same header
                raw[value.encode("ascii")] = sent
            headers.add(name, value)
        self.headers = headers
        return raw


class UpstreamResponse(aiohttp.ClientResponse):
    """A response that says how long its connection is kept."""

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Read the head."""
        protocol = connection.protocol
        await super().start(connection)
        if protocol is not None:
            match = _TIMEOUT.search(self.headers.get("Keep-Alive", ""))
            _ENDS[protocol] = math.inf if match is None else time.monotonic() + int(match[1]) - KEEP_ALIVE_MARGIN_S
        return self


def header_text(value: bytes) -> str:
    """Return a header value as text that `UpstreamRequest` converts to the same bytes."""
    return value.decode("utf-8", "surrogateescape")


def _has_ended(protocol: ResponseHandler, transport: asyncio.BaseTransport | None) -> bool:
    if transport is None or transport.is_closing() or time.monotonic() > _ENDS[protocol]:
        return True
    if protocol.should_close:
        # The event loop has read something since the last answer: the next caller would get it as its own.
        return True
    sock = transport.get_extra_info("socket")
    if sock is None:
        return False
    # The event loop may not have come to it yet.
    poll = select.poll()
    poll.register(sock.fileno(), _STIRS)
    return bool(poll.poll(0))


class _HeadWriter:
    """Stands in for a transport until the head has been written, with its bytes in their places."""

    def __init__(self, protocol: Any, transport: asyncio.Transport, raw: dict[bytes, bytes]) -> None:
        self._protocol = protocol
        self._transport = transport
        self._raw = raw

    def write(self, data: bytes) -> None:
        """Write what begins with the head."""
        self._step_aside()
        head, end, body = bytes(data).partition(b"\r\n\r\n")
        for placeholder, value in self._raw.items():
            head = head.replace(placeholder, value)
        self._transport.write(head + end + body)

    def writelines(self, parts: Any) -> None:
        """Write what begins with the head."""
        self.write(b"".join(parts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _step_aside(self) -> None:
        if self._protocol.transport is self:
            self._protocol.transport = self._transport

"""A transport that sends the head of an answer together with the first part of its body.

uvicorn writes them one after the other, which is two system calls and two packets for every answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

# Above this, copying costs more than a second system call.
_MAX_JOINED_BYTES = 64 * 1024


class JoinedWrites:
    """Wraps a transport; what is not about writing goes straight to it.

    Args:
        transport: Of the connection.
        loop: That it lives in.
        at_close: Called when nothing more will be written.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        *,
        at_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._transport = transport
        self._at_close = at_close
        self._call_soon = loop.call_soon
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send, but let a head wait for what the same turn of the event loop sends next."""
        head = self._head
        if head:
            self._head = b""
            if len(data) <= _MAX_JOINED_BYTES:
                self._transport.write(head + data)
            else:
                self._transport.write(head)
                self._transport.write(data)
        elif data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n"):
            self._head = data
            self._call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Close when all is sent."""
        self._flush()
        self._transport.close()
        self._at_close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

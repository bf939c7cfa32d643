"""A transport that sends the head of an answer together with the beginning of its body.

uvicorn writes the two separately, which costs two system calls and two packets for each answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

# Above this, copying costs more than a second system call.
_MAX_JOINED_BYTES = 64 * 1024


class JoinedWrites:
    """Wraps a transport; everything except writing goes straight to it.

    Args:
        transport: The connection's transport.
        loop: The transport's event loop.
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
        """Send, but hold a head back until the end of this turn of the event loop, to join it with what follows."""
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

    def write_at_once(self, data: bytes) -> None:
        """Send without waiting for more; a head that is held back goes first."""
        if self._head:
            self._flush()
        self._transport.write(data)

    def close(self) -> None:
        """Close when everything is sent."""
        self._flush()
        self._transport.close()
        self._at_close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

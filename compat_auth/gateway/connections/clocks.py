"""Timeouts of a connection: a client that sends its body or reads its answer too slowly loses the connection.

Both clocks count bytes per time window, so that one byte a minute is no progress. They ignore a window in which we did
not read, or had nothing to write.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import Callable
from contextlib import suppress

if sys.platform == "linux":
    import fcntl
    import termios

WINDOW_S = 60.0
"""As long as nginx's `client_body_timeout` and `send_timeout`."""
MIN_WINDOW_BYTES = 6000
"""100 bytes a second, a fifth of what Apache's mod_reqtimeout asks for."""


class BodyClock:
    """Measures the progress of a request body.

    Args:
        loop: The connection's event loop.
        may_wait: Whether the client now waits for us, not we for it.
        too_slow: Called once, when the body is too slow.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, may_wait: Callable[[], bool], too_slow: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._may_wait = may_wait
        self._too_slow = too_slow
        self._received = 0
        self._held_back = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start at the beginning of a body."""
        self.stop()
        self._next_window()

    def received(self, size: int) -> None:
        """Count received bytes."""
        self._received += size
        self._held_back = self._held_back or self._may_wait()

    def stop(self) -> None:
        """Stop at the end of the body."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next_window(self) -> None:
        self._received = 0
        self._held_back = self._may_wait()
        self._timer = self._loop.call_later(WINDOW_S, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._held_back or self._may_wait() or self._received >= MIN_WINDOW_BYTES:
            self._next_window()
        else:
            self._too_slow()


class WriteClock:
    """Measures the progress of an answer, and aborts the connection when the client does not read it.

    Args:
        loop: The connection's event loop.
        transport: The connection's transport.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start, unless there is nothing left to send."""
        if self._timer is None and self._transport.get_write_buffer_size():
            self._next_window()

    def stop(self) -> None:
        """Stop, because everything is sent or the connection is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next_window(self) -> None:
        self._waiting = _unsent(self._transport)
        self._timer = self._loop.call_later(WINDOW_S, self._check)

    def _check(self) -> None:
        self._timer = None
        waiting = _unsent(self._transport)
        if waiting == 0:
            return
        if waiting > self._waiting - MIN_WINDOW_BYTES:
            self._transport.abort()
        else:
            self._next_window()


def _unsent(transport: asyncio.Transport) -> int:
    """Return how many bytes the peer has not acknowledged."""
    size = transport.get_write_buffer_size()
    connection = transport.get_extra_info("socket")
    if sys.platform == "linux" and connection is not None:
        # The kernel buffers up to some MiB, and asks for more only when a third of that is sent (tcp(7), SIOCOUTQ).
        with suppress(OSError, ValueError):
            size += struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    return size

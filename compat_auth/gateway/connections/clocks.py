"""Clocks of a connection: a peer that sends its body, or takes its answer, too slowly does not hold it for ever.

Both count bytes in windows of time, so that one byte a minute is no progress. A window in which we did not read, or had
nothing to write, counts for nothing.
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
    """Watches that a body comes in.

    Args:
        loop: Of the connection.
        may_wait: Tells that the client waits for us now, not we for it.
        too_slow: Called once.
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
        """Begin with a body."""
        self.stop()
        self._next_window()

    def received(self, size: int) -> None:
        """Count what has come in."""
        self._received += size
        self._held_back = self._held_back or self._may_wait()

    def stop(self) -> None:
        """End with the body."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next_window(self) -> None:
        self._received = 0
        self._held_back = self._may_wait()
        self._timer = self._loop.call_later(WINDOW_S, self._judge)

    def _judge(self) -> None:
        self._timer = None
        if self._held_back or self._may_wait() or self._received >= MIN_WINDOW_BYTES:
            self._next_window()
        else:
            self._too_slow()


class WriteClock:
    """Watches that what was written goes out; breaks the connection off when it does not.

    Args:
        loop: Of the connection.
        transport: Of the connection.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, unless nothing waits for the peer."""
        if self._timer is None and self._transport.get_write_buffer_size():
            self._next_window()

    def stop(self) -> None:
        """End when they have gone out, or the connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next_window(self) -> None:
        self._waiting = _unsent(self._transport)
        self._timer = self._loop.call_later(WINDOW_S, self._judge)

    def _judge(self) -> None:
        self._timer = None
        waiting = _unsent(self._transport)
        if waiting == 0:
            return
        if waiting > self._waiting - MIN_WINDOW_BYTES:
            self._transport.abort()
        else:
            self._next_window()


def _unsent(transport: asyncio.Transport) -> int:
    """Return the bytes that the peer has not confirmed."""
    size = transport.get_write_buffer_size()
    connection = transport.get_extra_info("socket")
    if sys.platform == "linux" and connection is not None:
        # The kernel holds up to some MiB, and asks for more only when a third of that is gone (tcp(7), SIOCOUTQ).
        with suppress(OSError, ValueError):
            size += struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    return size

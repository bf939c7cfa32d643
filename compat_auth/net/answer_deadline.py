"""Cut the connection to a server that does not answer in time, whatever library waits for it.

A server that is frozen, or whose packets are dropped, enforces no time limit of its own, and the kernel on its side may
continue to acknowledge packets. So the time is kept here: when it is over, the socket is shut down, and the thread
that waits for an answer wakes up with a broken connection.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager


class AnswerDeadline:
    """The time that a server still has to answer.

    Attributes:
        is_over: Whether the time was over, so that the connection has been cut.
    """

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self.at = time.monotonic() + seconds
        self.is_over = False

    def restart(self) -> None:
        """Give the server the full time again: it has answered, and the next request begins."""
        self.at = time.monotonic() + self._seconds

    def lift(self) -> None:
        """Remove the time limit from now on."""
        self._seconds = self.at = float("inf")

    def cut(self) -> None:
        """End the connection."""
        self.is_over = True
        # The thread that reads or writes gets an error now; the library that owns the descriptor closes it.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def answer_deadline(fileno: int, seconds: float) -> Generator[AnswerDeadline]:
    """Cut a connection unless the block ends in time.

    Args:
        fileno: Descriptor of the connection's socket; its owner closes it.
        seconds: From now, or from the last `restart`.
    """
    # A descriptor of our own: the number of one that its owner closes may be another connection's a moment later.
    with socket.socket(fileno=os.dup(fileno)) as connection:
        deadline = AnswerDeadline(connection, seconds)
        watch = _WATCHES.current()
        watch.add(deadline)
        try:
            yield deadline
        finally:
            watch.remove(deadline)


class _Watch:
    """One thread for all deadlines of a process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._changed = threading.Condition()
        self._deadlines: set[AnswerDeadline] = set()
        self._next_at = float("inf")
        threading.Thread(target=self._keep, name="compat-auth-deadlines", daemon=True).start()

    def add(self, deadline: AnswerDeadline) -> None:
        with self._changed:
            self._deadlines.add(deadline)
            # Woken only for a deadline that comes before the one that the thread waits for.
            if deadline.at < self._next_at:
                self._changed.notify()

    def remove(self, deadline: AnswerDeadline) -> None:
        # Under the lock: after this, the thread does not touch the socket any more.
        with self._changed:
            self._deadlines.discard(deadline)

    def _keep(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for deadline in [one for one in self._deadlines if one.at <= now]:
                    self._deadlines.discard(deadline)
                    deadline.cut()
                self._next_at = min((one.at for one in self._deadlines), default=float("inf"))
                self._changed.wait(None if self._next_at == float("inf") else max(0.0, self._next_at - now))


class _Watches:
    """The watch of this process: a thread does not survive a fork."""

    _watch: _Watch | None

    def __init__(self) -> None:
        self.start_afresh()

    def current(self) -> _Watch:
        watch = self._watch
        if watch is None or watch.pid != os.getpid():
            with self._lock:
                watch = self._watch
                if watch is None or watch.pid != os.getpid():
                    watch = self._watch = _Watch()
        return watch

    def start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._watch = None


_WATCHES = _Watches()

if hasattr(os, "register_at_fork"):
    # A lock that another thread of the parent held would never open.
    os.register_at_fork(after_in_child=_WATCHES.start_afresh)

"""Periodic work of a process in its own thread, which starts when it is first needed."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable


class PeriodicTask:
    """Calls a method again and again, for as long as its object lives. Any thread may use it.

    Args:
        work: A bound method that raises nothing.
        pause_s: Seconds between two calls.
        name: Name of the thread.
    """

    def __init__(self, work: Callable[[], None], *, pause_s: float, name: str) -> None:
        self._work: weakref.WeakMethod[Callable[[], None]] = weakref.WeakMethod(work)
        self._pause_s = pause_s
        self._name = name
        self._lock = threading.Lock()
        self._soon = threading.Event()
        self._pid = 0

    def ensure(self) -> None:
        """Start the thread in this process unless it runs: no thread survives a fork."""
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid != os.getpid():
                self._pid, self._soon = os.getpid(), threading.Event()
                arguments = (self._work, self._soon, self._pause_s)
                threading.Thread(target=_run, args=arguments, name=self._name, daemon=True).start()

    def hurry(self) -> None:
        """Do the work now."""
        self.ensure()
        self._soon.set()


def _run(work: weakref.WeakMethod[Callable[[], None]], soon: threading.Event, pause_s: float) -> None:
    while True:
        soon.wait(pause_s)
        soon.clear()
        method = work()
        if method is None:
            return
        method()
        del method

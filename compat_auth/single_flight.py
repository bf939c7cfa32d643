"""Work that several threads want at once is done by one of them, and the others get what it got."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from compat_auth.errors import Overloaded

Result = TypeVar("Result")
# Half of the threads that the chain has by default: the other half is for credentials that need no remote source.
MAX_WAITING = 8


class SingleFlight(Generic[Result]):
    """Runs work once for each key at a time. Any thread may call.

    Args:
        max_waiting: Threads that may work or wait here, for all keys together.
    """

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, Future[Result]] = {}
        self._max_waiting = max_waiting
        self._waiting = 0

    def run(self, key: Hashable, work: Callable[[], Result]) -> Result:
        """Return what the work for the key returns, done by this thread or by one that came before.

        Raises:
            Overloaded: Too many threads are here already.
            Exception: What the work raises, in every thread that waits for it.
        """
        with self._lock:
            if self._waiting >= self._max_waiting:
                raise Overloaded("too many requests wait for the same remote source")
            self._waiting += 1
            flight = self._flights.get(key)
            is_ours = flight is None
            if flight is None:
                flight = self._flights[key] = Future[Result]()
        try:
            return self._fly(key, work, flight) if is_ours else flight.result()
        finally:
            with self._lock:
                self._waiting -= 1

    def _fly(self, key: Hashable, work: Callable[[], Result], ours: Future[Result]) -> Result:
        try:
            result = work()
        except BaseException as exc:
            with self._lock:
                del self._flights[key]
            ours.set_exception(exc)
            raise
        with self._lock:
            del self._flights[key]
        ours.set_result(result)
        return result

"""One of several threads that want the same work at once does it, and the others get its result."""

from __future__ import annotations

import threading
from collections import Counter
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
        max_waiting: Threads that may work or wait here, for all keys together; three quarters of them for one caller.
    """

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, Future[Result]] = {}
        self._max_waiting = max_waiting
        self._max_each = max(1, max_waiting * 3 // 4)
        self._waiting: Counter[str] = Counter()

    def run(self, key: Hashable, work: Callable[[], Result], *, caller: str = "") -> Result:
        """Return the result of the work for the key, done by this thread or by an earlier one.

        Args:
            key: Identifies the work.
            work: Computes the result.
            caller: The caller, such as an address, so that a caller with many requests leaves room for others; "":
                nobody.

        Raises:
            Overloaded: Too many threads work or wait already, in total or for this caller.
            Exception: The work's error, in every thread that waits for it.
        """
        with self._lock:
            if self._waiting.total() >= self._max_waiting or (caller and self._waiting[caller] >= self._max_each):
                raise Overloaded("too many requests wait for the same remote source")
            self._waiting[caller] += 1
            flight = self._flights.get(key)
            is_ours = flight is None
            if flight is None:
                flight = self._flights[key] = Future[Result]()
        try:
            return self._fly(key, work, flight) if is_ours else flight.result()
        finally:
            with self._lock:
                self._waiting[caller] -= 1
                if not self._waiting[caller]:
                    del self._waiting[caller]

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

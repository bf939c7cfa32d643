"""Low-priority thread pool for password hashes: fair to every client, and bounded.

A check takes tens to hundreds of milliseconds of a core. With the pool, a flood of wrong passwords costs at most `size`
cores, yields to the event loop, and cannot push another client's login out of the queue.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from compat_auth.errors import Overloaded

if TYPE_CHECKING:
    from compat_auth.config import Settings

T = TypeVar("T")

NICENESS = 10  # added to the process's own, see nice(2): the event loop gets about nine times the share
IDLE_S = 30.0  # an idle thread ends after this time
_LEAST_NICE = 19
_Job = tuple[Callable[[], Any], "Future[Any]"]


class HashPool:
    """At most `size` checks at once and `max_waiting` in the queue; clients take turns.

    Threads start at first use in each process, so a server may fork after creating the pool.
    """

    def __init__(self, size: int, *, max_waiting: int) -> None:
        self._size = size
        self._max_waiting = max_waiting
        self.start_afresh()
        _POOLS.add(self)

    @classmethod
    def from_settings(cls, settings: Settings) -> HashPool:
        """Return a pool with this worker's share of the cores."""
        in_all_workers = settings.basic_auth.max_hashes or os.cpu_count() or 1
        return cls(max(1, in_all_workers // settings.serve.workers), max_waiting=settings.basic_auth.max_waiting)

    @property
    def running(self) -> int:
        """Number of checks that run now."""
        return self._running

    @property
    def waiting(self) -> int:
        """Number of checks in the queue now."""
        return self._waiting

    def run(self, check: Callable[[], T], *, client: str) -> T:
        """Return the result of the check, or raise its error; any thread may call, and is blocked meanwhile.

        Args:
            check: Runs in a thread of the pool.
            client: The client, such as an address; clients take turns.

        Raises:
            Overloaded: The queue is full, and this client has the largest share of it.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._running + self._waiting >= self._size + self._max_waiting:
                self._make_room_for(client)
            self._queues.setdefault(client, deque()).append((check, future))
            self._waiting += 1
            if self._idle >= self._waiting:
                self._changed.notify()
            elif self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._work, name="compat-auth-hash", daemon=True).start()
        return future.result()

    def _make_room_for(self, client: str) -> None:
        longest = max(self._queues, key=lambda name: len(self._queues[name]))
        # A client with the largest share, or who would have it with this check, is refused; else its check comes first.
        if len(self._queues.get(client, ())) + 1 >= len(self._queues[longest]):
            raise Overloaded("too many password checks are waiting; try again, or raise [basic_auth] max_waiting")
        _, refused = self._queues[longest].pop()
        self._waiting -= 1
        refused.set_exception(Overloaded("too many password checks from this client are waiting; try again"))

    def _work(self) -> None:
        _lower_priority()
        while True:
            with self._changed:
                self._idle += 1
                there_is_work = self._changed.wait_for(lambda: self._waiting > 0, timeout=IDLE_S)
                self._idle -= 1
                if not there_is_work:
                    self._threads -= 1
                    return
                check, future = self._take()
                self._running += 1
            result: Any = None
            error: BaseException | None = None
            try:
                result = check()
            except BaseException as exc:  # noqa: BLE001  # it belongs to the caller that waits, whatever it is
                error = exc
            # Counted before the caller continues, so that a later question sees an idle pool.
            with self._changed:
                self._running -= 1
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
            # An idle thread must not keep a password or a result in memory.
            del check, future, result, error

    def _take(self) -> _Job:
        client, queue = next(iter(self._queues.items()))
        job = queue.popleft()
        if queue:
            self._queues.move_to_end(client)
        else:
            del self._queues[client]
        self._waiting -= 1
        return job

    def start_afresh(self) -> None:
        """Forget threads and queue, like a new pool: for a forked process."""
        self._changed = threading.Condition()
        self._queues: OrderedDict[str, deque[_Job]] = OrderedDict()
        self._threads = self._idle = self._running = self._waiting = 0


def _lower_priority() -> None:
    # Only Linux has priorities for single threads; elsewhere this would slow down the whole process.
    if sys.platform == "linux":
        niceness = min(_LEAST_NICE, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
        except OSError:  # a sandbox forbids it; the result does not depend on the priority
            return


_POOLS: weakref.WeakSet[HashPool] = weakref.WeakSet()


def _start_afresh_in_child() -> None:
    for pool in _POOLS:
        # No thread of the parent exists in the child, and a lock held by one would never be released.
        pool.start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh_in_child)

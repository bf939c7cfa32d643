"""Work for which an event loop waits, as long as that work is short; what takes longer goes on without it.

To have short work done by a thread pool, with a future, a task and a wake-up of the event loop, costs more than the work.
Here the event loop hands it to one helper thread and waits. A wait is bounded: whatever the work hangs in, the event loop
goes on after `DEADLINE_S`.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

from compat_auth.concurrency.current_request import REQUEST_ID

T = TypeVar("T")

SHORT_S = 0.0025
"""Work that typically takes longer is not waited for."""
DEADLINE_S = 0.005
"""The longest wait."""
FREE_S = 0.0001
"""A wait up to this long costs the others no more than the way over a thread."""
COMPUTED_S = 0.0009
"""So much of what the helper thread computes is free besides: the event loop could hardly do anything meanwhile."""
# The rest of a wait is a loss for all others: a tenth of the time at most, half a second's share at once.
ALLOWED_SHARE = 0.1
ALLOWED_AT_ONCE_S = 0.05
# One measurement moves what is typical by a tenth, so that about twenty of another size change the decision.
_STEP = 1.1
_SHORTEST_S, _LONGEST_S = SHORT_S / 10, SHORT_S * 10


class Pace:
    """How long one kind of work typically takes: a moving median, on which a few that are late have no effect.

    Any thread may note a measurement. Two at the same moment may count as one, which changes nothing.
    """

    def __init__(self) -> None:
        # Nothing is waited for until it has been short elsewhere.
        self.typical_s = SHORT_S * _STEP

    @property
    def is_short(self) -> bool:
        """Whether the event loop may wait for it."""
        return self.typical_s <= SHORT_S

    def note(self, took_s: float) -> None:
        """Take a measurement into account."""
        moved = self.typical_s * _STEP if took_s > self.typical_s else self.typical_s / _STEP
        self.typical_s = min(max(moved, _SHORTEST_S), _LONGEST_S)

    def measured(self, work: Callable[[], T]) -> Callable[[], T]:
        """Return the work, which from now on notes how long it takes."""

        def run() -> T:
            began = time.perf_counter()
            try:
                return work()
            finally:
                self.note(time.perf_counter() - began)

        return run


class Job(Generic[T]):
    """One piece of work on the helper thread.

    Attributes:
        is_done: It has ended, so that `result` may be called.
        computed_s: Processor time that it took, once it has ended.
    """

    def __init__(self, work: Callable[[], T], processor: Callable[[], float] = time.thread_time) -> None:
        self.is_done = False
        self.computed_s = 0.0
        self._processor = processor
        self._work = work
        self._context = contextvars.Context()
        self._context.run(REQUEST_ID.set, REQUEST_ID.get())
        self._outcome: tuple[T] | BaseException | None = None
        self._ended = threading.Lock()
        self._ended.acquire()  # released by the helper thread
        self._lock = threading.Lock()
        self._wake: Callable[[], object] | None = None

    def run(self) -> None:
        """Do the work; on the helper thread."""
        began = self._processor()
        try:
            self._outcome = (self._context.run(self._work),)
        except BaseException as error:  # noqa: BLE001  # it belongs to the one who waits
            self._outcome = error
        self.computed_s = self._processor() - began
        with self._lock:
            self.is_done = True
            wake = self._wake
        self._ended.release()
        if wake is not None:
            wake()

    def wait(self, timeout_s: float) -> bool:
        """Wait on this thread; return whether it has ended."""
        return self.is_done or self._ended.acquire(timeout=timeout_s)

    async def late(self) -> T:
        """Wait without the thread of the event loop, and return the result."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        with self._lock:
            if not self.is_done:
                self._wake = lambda: _wake(loop, ended)
        if self._wake is not None:
            await ended.wait()
        return self.result()

    def result(self) -> T:
        """Return the result of the work, or raise its error."""
        outcome = self._outcome
        if isinstance(outcome, BaseException):
            raise outcome
        assert outcome is not None  # noqa: S101  # for the type checkers: it is done
        return outcome[0]


def _wake(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(ended.set)
    except RuntimeError:
        return  # the loop has ended, so no task waits for the result


class BriefWork:
    """Waits for short work; for one event loop's thread only.

    Args:
        name: Name of the helper thread.
        monotonic: Clock, in seconds.
        processor: Processor time of the thread that calls it, in seconds.
    """

    def __init__(
        self,
        name: str,
        monotonic: Callable[[], float] = time.monotonic,
        processor: Callable[[], float] = time.thread_time,
    ) -> None:
        self._name = name
        self._monotonic = monotonic
        self._processor = processor
        self._jobs: SimpleQueue[Job[object] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._last: Job[object] | None = None
        self._allowed_s = ALLOWED_AT_ONCE_S
        self._filled_at = monotonic()
        self._is_closed = False

    def takes(self, pace: Pace) -> bool:
        """Return whether the event loop can wait for work of this pace now."""
        if self._is_closed or not pace.is_short or (self._last is not None and not self._last.is_done):
            return False
        now = self._monotonic()
        self._allowed_s = min(ALLOWED_AT_ONCE_S, self._allowed_s + (now - self._filled_at) * ALLOWED_SHARE)
        self._filled_at = now
        return self._allowed_s > 0

    def start(self, work: Callable[[], T], pace: Pace) -> Job[T]:
        """Have the helper thread do the work, and wait for it, for `DEADLINE_S` at most; call it after `takes`.

        Returns:
            The work, done or still under way.
        """
        job = Job(pace.measured(work), self._processor)
        self._last = job  # type: ignore[assignment]  # only whether it is done matters
        if self._thread is None:
            # A daemon: what hangs must not keep the process from ending.
            self._thread = threading.Thread(target=self._help, name=self._name, daemon=True)
            self._thread.start()
        began = self._monotonic()
        self._jobs.put(job)  # type: ignore[arg-type]  # the same
        has_ended = job.wait(DEADLINE_S)
        waited_s, computed_s = self._monotonic() - began, job.computed_s if has_ended else 0.0
        self._allowed_s -= max(0.0, waited_s - FREE_S - min(computed_s, COMPUTED_S))
        return job

    def close(self) -> None:
        """Start no more work; the helper thread ends."""
        self._is_closed = True
        self._jobs.put(None)

    def _help(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()

"""Threads for blocking work, with fair turns for the networks that the callers come from."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, TypeVar

from compat_auth.concurrency.current_request import REQUEST_ID
from compat_auth.concurrency.fair_queue import FairQueue
from compat_auth.concurrency.rate_limit import network_of
from compat_auth.errors import BackendUnavailable

T = TypeVar("T")
LaneName = Literal["chain", "aside", "outward"]


def retrieve_error(task: asyncio.Future[Any]) -> None:
    """Take the error of work that has ended, for work whose caller may leave before (a callback of the task).

    A caller that waits gets the error anyway. Without one, asyncio would log it, and its text may be about a credential.
    """
    if not task.cancelled():
        task.exception()


class Lane:
    """A pool of threads, and a queue for them that is fair to each network.

    Args:
        name: Name of the threads.
        threads: Most pieces of work at once.
        max_waiting: Callers that may wait; beyond: Overloaded.
    """

    def __init__(self, name: str, threads: int, max_waiting: int) -> None:
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=f"compat-auth-{name}")
        self.turns = FairQueue(threads, max_waiting)

    def turn(self, client: str) -> AbstractAsyncContextManager[None]:
        """Return the context in which a caller may call `work`.

        Raises:
            Overloaded: When it is entered and too much work waits.
        """
        return self.turns.take(network_of(client))

    async def work(self, work: Callable[[], T]) -> T:
        """Return the result of the work; it runs on a thread, in its own context, which has the id of the request.

        Its changes to context variables do not reach another request.
        """
        context = contextvars.Context()
        context.run(REQUEST_ID.set, REQUEST_ID.get())
        return await asyncio.get_running_loop().run_in_executor(self.pool, lambda: context.run(work))


class Lanes:
    """The threads of one process, in lanes that cannot block each other.

    Args:
        threads: Backends that work at once.
        max_waiting: Callers that may wait for each lane; beyond: Overloaded.
        timeout_s: Seconds after which a caller no longer waits.

    Attributes:
        chain: The lane of the chain.
        timeout_s: As given.
    """

    def __init__(self, threads: int = 16, max_waiting: int = 256, timeout_s: float = 30) -> None:
        self.timeout_s = timeout_s
        self.chain = Lane("chain", threads, max_waiting)
        self._lanes: dict[LaneName, Lane] = {
            "chain": self.chain,
            "aside": Lane("aside", max(2, threads // 2), max_waiting),
            "outward": Lane("outward", max(2, threads // 4), max_waiting),
        }

    async def run(self, client: str, work: Callable[[], T], *, lane: LaneName = "chain") -> T:
        """Do blocking work of a caller and return what it returns.

        Args:
            client: Address of the caller.
            work: Runs on a thread.
            lane: "chain" shares the threads of the chain; "aside" is for work that anybody can ask for; "outward" for
                such work that waits for another server.

        Raises:
            Overloaded: Too much work waits.
            BackendUnavailable: It takes too long.
        """
        place = self._lanes[lane]

        async def wait() -> T:
            async with place.turn(client):
                return await place.work(work)

        task = asyncio.ensure_future(wait())
        task.add_done_callback(retrieve_error)
        try:
            # Shielded: the turn is over when the work is, not when its caller has gone.
            return await asyncio.wait_for(asyncio.shield(task), self.timeout_s)
        except TimeoutError:
            raise BackendUnavailable(f"no answer within {self.timeout_s:g} s") from None

    def queues(self) -> Iterator[tuple[LaneName, FairQueue]]:
        """Yield the queue of each lane."""
        for name, lane in self._lanes.items():
            yield name, lane.turns

    def close(self) -> None:
        """Start no new work."""
        for lane in self._lanes.values():
            lane.pool.shutdown(wait=False, cancel_futures=True)

"""Counts events within a minute, and the tries under way, in this process. No Flask."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from compat_auth.errors import Overloaded, TooManyRequests

WINDOW_S = 60.0
# Far more than one caller has; beyond, the key that was not touched for longest goes.
_KEYS = 50_000
_POLL_S = 0.02
# A try that waits for others ends with the check of the slowest of them.
_MAX_WAIT_S = 30.0
_MAX_WAITING = 256

Key = tuple[str, ...]


class RateLimit:
    """Counts by key, up to a limit. Any thread may use it.

    Args:
        enough: The limit for a minute.
        now: Monotonic clock, in seconds.
    """

    def __init__(self, enough: int, now: Callable[[], float] = time.monotonic) -> None:
        self.enough = enough
        self._now = now
        self._lock = threading.Lock()
        self._counted: OrderedDict[Key, deque[float]] = OrderedDict()

    def count(self, *key: str) -> bool:
        """Count once more and return true; false if the limit is reached."""
        with self._lock:
            moments = self._moments(key)
            if len(moments) >= self.enough:
                return False
            moments.append(self._now())
            self._counted[key] = moments
            self._counted.move_to_end(key)
            while len(self._counted) > _KEYS:
                self._counted.popitem(last=False)
            return True

    def give_back(self, *key: str) -> None:
        """Undo the latest count: the event that was counted in advance did not happen."""
        with self._lock:
            moments = self._moments(key)
            if moments:
                moments.pop()

    def wait_s(self, *key: str) -> int:
        """Return after how many seconds there may be more; 0 if the limit is not reached."""
        with self._lock:
            moments = self._moments(key)
            if len(moments) < self.enough:
                return 0
            return max(1, math.ceil(moments[-self.enough] + WINDOW_S - self._now()))

    def counted(self, *key: str) -> int:
        """Return how often it was counted in the last minute."""
        with self._lock:
            return len(self._moments(key))

    def _moments(self, key: Key) -> deque[float]:
        moments = self._counted.get(key)
        if moments is None:
            return deque()
        start = self._now() - WINDOW_S
        while moments and moments[0] <= start:
            moments.popleft()
        return moments


@dataclass(slots=True)
class Try:
    """One try under way.

    Attributes:
        failed: Whether it counts once it is over.
    """

    failed: bool = False


class Tries:
    """Checks no more tries of a key at once than may still fail. Any thread may use it.

    A try takes a place before it is checked: however many come at once, no more are checked than one after the
    other would be. Tries without a place wait, because the tries before them may succeed.

    Args:
        enough: Failures in a minute.
        why: The message to a caller with too many failures.
        now: Monotonic clock, in seconds.
    """

    def __init__(self, enough: int, why: str, now: Callable[[], float] = time.monotonic) -> None:
        self._failures = RateLimit(enough, now)
        self._why = why
        self._changed = threading.Condition()
        self._open: dict[Key, int] = {}
        self._waiting: dict[Key, int] = {}

    @contextmanager
    def one(self, *key: str) -> Generator[Try]:
        """Hold a place for the block; waits for it on this thread.

        Raises:
            TooManyRequests: Too many have failed, or too many wait.
            Overloaded: The tries before it do not end.
        """
        # An RLock below: the wait gives it back wholly.
        with self._in_line(key), self._changed:
            deadline = time.monotonic() + _MAX_WAIT_S
            while not self._has_begun(key):
                if not self._changed.wait(deadline - time.monotonic()):
                    raise Overloaded("too many tries of one caller are being looked at")
        with self._held(key) as tried:
            yield tried

    @asynccontextmanager
    async def one_async(self, *key: str) -> AsyncGenerator[Try]:
        """Hold a place for the block; see `one`."""
        with self._in_line(key):
            deadline = time.monotonic() + _MAX_WAIT_S
            while not self._has_begun(key):
                if time.monotonic() > deadline:
                    raise Overloaded("too many tries of one caller are being looked at")
                await asyncio.sleep(_POLL_S)
        with self._held(key) as tried:
            yield tried

    def fail(self, *key: str) -> None:
        """Count a failure that had no place."""
        self._failures.count(*key)

    @contextmanager
    def _in_line(self, key: Key) -> Generator[None]:
        with self._changed:
            if self._waiting.get(key, 0) >= _MAX_WAITING:
                raise TooManyRequests(self._why, 1)
            self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                _decrease(self._waiting, key)

    def _has_begun(self, key: Key) -> bool:
        with self._changed:
            if wait_s := self._failures.wait_s(*key):
                raise TooManyRequests(self._why, wait_s)
            if self._failures.counted(*key) + self._open.get(key, 0) >= self._failures.enough:
                return False
            self._open[key] = self._open.get(key, 0) + 1
            return True

    @contextmanager
    def _held(self, key: Key) -> Generator[Try]:
        tried = Try()
        try:
            yield tried
        finally:
            with self._changed:
                _decrease(self._open, key)
                if tried.failed:
                    self._failures.count(*key)
                self._changed.notify_all()


def share_of(enough: int, workers: int) -> int:
    """Return the limit of each of several processes, so that all together allow as much as one would."""
    return max(1, math.ceil(enough / workers))


def network_of(client: str) -> str:
    """Return an address, or the network that one IPv6 customer has (RFC 6177)."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    # A server that listens on IPv6 sees IPv4 so (RFC 4291 2.5.5.2): all of it is in one /64.
    address = getattr(address, "ipv4_mapped", None) or address
    return str(ipaddress.ip_network((int(address), 64), strict=False)) if address.version == 6 else str(address)


def _decrease(counts: dict[Key, int], key: Key) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]

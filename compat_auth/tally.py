"""How often something has happened within a minute, in this process. No Flask."""

from __future__ import annotations

import ipaddress
import math
import os
import time
from collections.abc import Callable

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter


class Tally:
    """Counts by key, up to a number that is enough. Any thread may use it.

    Args:
        enough: In a minute.
        now: Clock, in seconds.
    """

    def __init__(self, enough: int, now: Callable[[], float] = time.time) -> None:
        self._enough = RateLimitItemPerMinute(enough)
        self._now = now
        self._pid = os.getpid()
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def count(self, *key: str) -> bool:
        """Count once more and return true; false where there has been enough."""
        return self._of_process().hit(self._enough, *key)

    def wait_s(self, *key: str) -> int:
        """Return after how many seconds there may be more; 0 where there has not been enough."""
        limiter = self._of_process()
        if limiter.test(self._enough, *key):
            return 0
        return max(1, math.ceil(limiter.get_window_stats(self._enough, *key).reset_time - self._now()))

    def _of_process(self) -> MovingWindowRateLimiter:
        if self._pid != os.getpid():
            # A timer's thread of the parent does not live on in the child.
            self._limiter, self._pid = MovingWindowRateLimiter(MemoryStorage()), os.getpid()
        return self._limiter


def network_of(client: str) -> str:
    """Return an address, or the network that one IPv6 customer has (RFC 6177)."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    # A server that listens on IPv6 sees IPv4 so (RFC 4291 2.5.5.2): all of it is in one /64.
    address = getattr(address, "ipv4_mapped", None) or address
    return str(ipaddress.ip_network((int(address), 64), strict=False)) if address.version == 6 else str(address)

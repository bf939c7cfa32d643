"""How often somebody may try to log in by the form: by address and by user name, in each process."""

from __future__ import annotations

import ipaddress
import math
import os
import time
from collections.abc import Callable

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

PER_CLIENT = 20
# By name, whatever the address: guesses from many hosts. A minute, so that nobody is locked out for long.
PER_USER = 20


class LoginAttempts:
    """Counts the tries of the last minute. Any thread may use it.

    Args:
        now: Clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._pid = 0
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def wait_s(self, client: str, username: str) -> int:
        """Count a try; return 0 when it may go on, else the seconds after which another may."""
        if self._pid != os.getpid():
            # A timer's thread of the parent does not live on in the child.
            self._limiter, self._pid = MovingWindowRateLimiter(MemoryStorage()), os.getpid()
        tries = (
            (RateLimitItemPerMinute(PER_CLIENT), "client", _network(client)),
            (RateLimitItemPerMinute(PER_USER), "user", username.casefold()),
        )
        for limit, *key in tries:
            if not self._limiter.hit(limit, *key):
                return max(1, math.ceil(self._limiter.get_window_stats(limit, *key).reset_time - self._now()))
        return 0


def _network(client: str) -> str:
    """Return the address, or the network that one IPv6 customer has (RFC 6177)."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return str(ipaddress.ip_network((int(address), 64), strict=False)) if address.version == 6 else str(address)

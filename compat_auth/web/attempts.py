"""How often somebody may try to log in, and ask for tokens: in each process."""

from __future__ import annotations

import ipaddress
import math
import os
import time
from collections.abc import Callable

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from compat_auth.errors import TooManyRequests

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


class TokenAttempts:
    """Counts wrong credentials by address, and given tokens by user. Any thread may use it.

    Not wrong credentials by user: whoever guesses at somebody's password would keep that somebody out.

    Args:
        failures: Wrong credentials of an address in a minute.
        tokens: Tokens for one user in a minute.
        now: Clock, in seconds.
    """

    def __init__(self, failures: int, tokens: int, now: Callable[[], float] = time.time) -> None:
        self._failures, self._tokens = RateLimitItemPerMinute(failures), RateLimitItemPerMinute(tokens)
        self._now = now
        self._pid = os.getpid()
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def require_patience(self, client: str) -> None:
        """Return when another credential of this address may be looked at.

        Raises:
            TooManyRequests: It has shown too many wrong ones.
        """
        key = ("client", _network(client))
        if not self._of_process().test(self._failures, *key):
            raise TooManyRequests("too many wrong credentials from this address", self._wait_s(self._failures, *key))

    def count_failure(self, client: str) -> None:
        """Remember that a credential was wrong."""
        self._of_process().hit(self._failures, "client", _network(client))

    def count_token(self, username: str) -> None:
        """Remember that a user is to get a token.

        Raises:
            TooManyRequests: The user has had too many.
        """
        key = ("user", username.casefold())
        if not self._of_process().hit(self._tokens, *key):
            raise TooManyRequests("too many tokens for this user", self._wait_s(self._tokens, *key))

    def _wait_s(self, limit: RateLimitItemPerMinute, *key: str) -> int:
        return max(1, math.ceil(self._limiter.get_window_stats(limit, *key).reset_time - self._now()))

    def _of_process(self) -> MovingWindowRateLimiter:
        if self._pid != os.getpid():
            # A timer's thread of the parent does not live on in the child.
            self._limiter, self._pid = MovingWindowRateLimiter(MemoryStorage()), os.getpid()
        return self._limiter


def _network(client: str) -> str:
    """Return the address, or the network that one IPv6 customer has (RFC 6177)."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return str(ipaddress.ip_network((int(address), 64), strict=False)) if address.version == 6 else str(address)

"""Rate limits for logins and for tokens. Each process has its share of the limits."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from cachetools import LRUCache

from compat_auth.concurrency.rate_limit import RateLimit, Tries, Try, network_of, share_of
from compat_auth.errors import TooManyRequests

PER_CLIENT = 20
# Per user name, for addresses from which that user has not logged in: guesses from many hosts.
PER_USER = 100
_KNOWN = 10_000


class LoginAttempts:
    """Counts the login attempts of the last minute. Any thread may use it.

    Nobody can lock a user out: the limit per name holds only for addresses from which that user has not logged in.

    Args:
        workers: Number of processes that share the limits.
        now: Clock, in seconds.
    """

    def __init__(self, workers: int = 1, now: Callable[[], float] = time.monotonic) -> None:
        self._of_client = RateLimit(share_of(PER_CLIENT, workers), now)
        self._of_user = RateLimit(share_of(PER_USER, workers), now)
        self._lock = threading.Lock()
        self._known: LRUCache[tuple[str, str], None] = LRUCache(_KNOWN)

    def wait_s(self, client: str, username: str) -> int:
        """Count an attempt; return 0 if it may proceed, else the seconds until the next one may."""
        network, name = network_of(client), username.casefold()
        if not self._of_client.count(network):
            return max(1, self._of_client.wait_s(network))
        with self._lock:
            is_known = (network, name) in self._known
        if not is_known and not self._of_user.count(name):
            return max(1, self._of_user.wait_s(name))
        return 0

    def remember(self, client: str, username: str) -> None:
        """Remember a successful login: the attempt was not a guess."""
        pair = network_of(client), username.casefold()
        with self._lock:
            is_known = pair in self._known
            self._known[pair] = None
        # Many users behind one address may log in as often as they like: only failures stay counted.
        self._of_client.give_back(pair[0])
        if not is_known:
            self._of_user.give_back(pair[1])


class TokenAttempts:
    """Counts wrong credentials per address, and issued tokens per user. Any thread may use it.

    It does not count wrong credentials per user: an attacker who guesses a user's password could lock that user out.

    Args:
        failures: Wrong credentials that an address may send per minute.
        tokens: Tokens that a user may get per minute.
        workers: Number of processes that share the limits.
        now: Clock, in seconds.
    """

    def __init__(self, failures: int, tokens: int, workers: int = 1, now: Callable[[], float] = time.monotonic) -> None:
        self._failures = Tries(share_of(failures, workers), "too many wrong credentials from this address", now)
        self._tokens = RateLimit(share_of(tokens, workers), now)

    @asynccontextmanager
    async def one(self, client: str) -> AsyncGenerator[Try]:
        """Reserve a place for one credential of an address during its check; the block reports whether it was wrong.

        Raises:
            TooManyRequests: The address has sent too many wrong credentials.
            Overloaded: Too many credentials of the address are being checked.
        """
        async with self._failures.one_async(network_of(client)) as tried:
            yield tried

    def count_token(self, username: str) -> None:
        """Count a token that a user is about to get.

        Raises:
            TooManyRequests: The user has got too many tokens.
        """
        if not self._tokens.count(username.casefold()):
            raise TooManyRequests("too many tokens for this user", max(1, self._tokens.wait_s(username.casefold())))

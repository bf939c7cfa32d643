"""How often somebody may try to log in, and ask for tokens: in each process, which has its share of the whole."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from cachetools import LRUCache

from compat_auth.concurrency.rate_limit import RateLimit, Tries, Try, network_of, share_of
from compat_auth.errors import TooManyRequests

PER_CLIENT = 20
# By name, from addresses from which nobody has logged in as that user: guesses from many hosts.
PER_USER = 100
_KNOWN = 10_000


class LoginAttempts:
    """Counts the tries of the last minute. Any thread may use it.

    Nobody can lock a user out: the count of a name holds only for addresses from which that user has not logged in.

    Args:
        workers: Processes that share the bounds.
        now: Clock, in seconds.
    """

    def __init__(self, workers: int = 1, now: Callable[[], float] = time.monotonic) -> None:
        self._of_client = RateLimit(share_of(PER_CLIENT, workers), now)
        self._of_user = RateLimit(share_of(PER_USER, workers), now)
        self._lock = threading.Lock()
        self._known: LRUCache[tuple[str, str], None] = LRUCache(_KNOWN)

    def wait_s(self, client: str, username: str) -> int:
        """Count a try; return 0 when it may go on, else the seconds after which another may."""
        network, name = network_of(client), username.casefold()
        if not self._of_client.count(network):
            return max(1, self._of_client.wait_s(network))
        with self._lock:
            is_known = (network, name) in self._known
        if not is_known and not self._of_user.count(name):
            return max(1, self._of_user.wait_s(name))
        return 0

    def remember(self, client: str, username: str) -> None:
        """Remember that somebody has logged in as that user: the try was no guess."""
        pair = network_of(client), username.casefold()
        with self._lock:
            is_known = pair in self._known
            self._known[pair] = None
        # A house behind one address logs in as often as it likes: only what was no login stays counted.
        self._of_client.give_back(pair[0])
        if not is_known:
            self._of_user.give_back(pair[1])


class TokenAttempts:
    """Counts wrong credentials by address, and given tokens by user. Any thread may use it.

    Not wrong credentials by user: whoever guesses at somebody's password would keep that somebody out.

    Args:
        failures: Wrong credentials of an address in a minute.
        tokens: Tokens for one user in a minute.
        workers: Processes that share the bounds.
        now: Clock, in seconds.
    """

    def __init__(self, failures: int, tokens: int, workers: int = 1, now: Callable[[], float] = time.monotonic) -> None:
        self._failures = Tries(share_of(failures, workers), "too many wrong credentials from this address", now)
        self._tokens = RateLimit(share_of(tokens, workers), now)

    @asynccontextmanager
    async def one(self, client: str) -> AsyncGenerator[Try]:
        """Hold a place for one credential of an address while it is looked at; the block says whether it was wrong.

        Raises:
            TooManyRequests: The address has shown too many wrong ones.
            Overloaded: Those before it are still being looked at.
        """
        async with self._failures.one_async(network_of(client)) as tried:
            yield tried

    def count_token(self, username: str) -> None:
        """Remember that a user is to get a token.

        Raises:
            TooManyRequests: The user has had too many.
        """
        if not self._tokens.count(username.casefold()):
            raise TooManyRequests("too many tokens for this user", max(1, self._tokens.wait_s(username.casefold())))

"""Where a JWT of the upstream came from: the user and the backends that accepted the credential behind it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable

from cachetools import LRUCache

from compat_auth.concurrency.fair_queue import FairQueue
from compat_auth.concurrency.rate_limit import network_of
from compat_auth.tokens.denylist import signed_digest
from compat_auth.tokens.issued import TokenOrigin

# Anybody can invent tokens, and each new one costs a look-up: few at once, and few that wait.
_PLACES = 4
_MAX_WAITING = 256


class TokenOrigins:
    """Remembers origins, which never change; used on one event loop.

    Args:
        find: Finds the origin of a token in the store; None: the token was not issued here, or nobody knows.
        entries: Tokens with an origin to remember.
        unknown: Tokens without one to remember; they are apart, because anybody can invent them.
    """

    def __init__(
        self, find: Callable[[str], TokenOrigin | None], *, entries: int = 10_000, unknown: int = 2_000
    ) -> None:
        self._find = find
        self._key = secrets.token_bytes(32)
        self._known: LRUCache[bytes, TokenOrigin] = LRUCache(entries)
        self._unknown: LRUCache[bytes, None] = LRUCache(unknown)
        self._turns = FairQueue(_PLACES, _MAX_WAITING)
        self._flights: dict[bytes, asyncio.Future[TokenOrigin | None]] = {}
        self._places = asyncio.Semaphore(_PLACES)

    def name_of(self, token: str) -> bytes:
        """Return a name for a token that tells nothing about it; every spelling of a JWT's signature has the same."""
        return self._key_of(signed_digest(token))

    def _key_of(self, token: str) -> bytes:
        # By the whole text: what one spelling has, another one need not have.
        return hashlib.blake2b(token.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).digest()

    def recall(self, token: str) -> tuple[TokenOrigin | None] | None:
        """Return the origin in memory, as the only element; None: it is not in memory."""
        key = self._key_of(token)
        found = self._known.get(key)
        if found is not None:
            return (found,)
        try:
            # A use of it, unlike `in`: what is used stays longest.
            self._unknown[key]
        except KeyError:
            return None
        return (None,)

    async def find(self, token: str, client: str) -> TokenOrigin | None:
        """Return the origin of a token; one token is looked up once at a time, and the networks of clients have fair turns.

        Args:
            token: As presented.
            client: Address of the caller.

        Raises:
            Overloaded: Too many tokens wait, in total or from the client's network.
            BackendUnavailable: The store could not be asked.
        """
        known = self.recall(token)
        if known is not None:
            return known[0]
        key = self._key_of(token)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.ensure_future(self._look_up(token, client))
            flight.add_done_callback(lambda done: self._land(key, done))
        # Shielded: the turn is over when the look-up is, not when its caller has gone.
        return await asyncio.shield(flight)

    async def _look_up(self, token: str, client: str) -> TokenOrigin | None:
        async with self._turns.take(network_of(client)), self._places:
            return await asyncio.to_thread(self._find, token)

    def _land(self, key: bytes, flight: asyncio.Future[TokenOrigin | None]) -> None:
        del self._flights[key]
        if flight.cancelled() or flight.exception() is not None:
            return
        found = flight.result()
        if found is None:
            self._unknown[key] = None
        else:
            self._known[key] = found

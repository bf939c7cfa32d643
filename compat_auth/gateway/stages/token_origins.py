"""Where a JWT of the upstream came from: the user and the backends that accepted the credential behind it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable

from cachetools import LRUCache

from compat_auth.tokens.issued import TokenOrigin


class TokenOrigins:
    """Remembers origins, which never change; used on one event loop.

    Args:
        find: Finds the origin of a token in the store; None: the token was not issued here, or nobody knows.
        entries: Tokens to remember.
    """

    def __init__(self, find: Callable[[str], TokenOrigin | None], *, entries: int = 10_000) -> None:
        self._find = find
        self._key = secrets.token_bytes(32)
        self._known: LRUCache[bytes, tuple[TokenOrigin | None]] = LRUCache(entries)

    def name_of(self, token: str) -> bytes:
        """Return a name for a token that tells nothing about it."""
        return hashlib.blake2b(token.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).digest()

    def recall(self, token: str) -> tuple[TokenOrigin | None] | None:
        """Return the origin in memory, as the only element; None: it is not in memory."""
        return self._known.get(self.name_of(token))

    async def find(self, token: str) -> TokenOrigin | None:
        """Return the origin of a token.

        Raises:
            BackendUnavailable: The store could not be asked.
        """
        known = self.recall(token)
        if known is None:
            known = self._known[self.name_of(token)] = (await asyncio.to_thread(self._find, token),)
        return known[0]

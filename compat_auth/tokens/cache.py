"""Cache of upstream tokens: each is kept until shortly before it expires, and one caller at a time makes it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from cachetools import LRUCache

from compat_auth.concurrency.single_flight import SingleFlight
from compat_auth.identity import Token

# A token must still be good when the request arrives at the upstream.
MARGIN_S = 60.0
MARGIN_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class _Kept:
    token: Token
    renew_at: float


class TokenCache:
    """The latest token for each key, up to a fixed number of keys. Any thread may call."""

    def __init__(self, entries: int, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._kept: LRUCache[Hashable, _Kept] = LRUCache(entries)
        # The gate bounds how many requests wait for a token.
        self._flight = SingleFlight[Token](max_waiting=sys.maxsize)

    def obtain(self, key: Hashable, make: Callable[[], Token], *, fresh: bool) -> Token:
        """Return the cached token, or a new one; concurrent callers for one key get the same new token.

        Args:
            key: Everything that the token depends on.
            make: Makes a token. Every waiting caller gets the error that it raises; a failure is not cached.
            fresh: The cached token was refused; make another.
        """
        kept = None if fresh else self._find(key)
        return kept or self._flight.run(key, lambda: self._make(key, make, fresh=fresh))

    def _find(self, key: Hashable) -> Token | None:
        with self._lock:
            kept = self._kept.get(key)
            return kept.token if kept is not None and self._now() < kept.renew_at else None

    def _make(self, key: Hashable, make: Callable[[], Token], *, fresh: bool) -> Token:
        # Another caller may have made one between the look and now.
        kept = None if fresh else self._find(key)
        if kept is not None:
            return kept
        started = self._now()
        try:
            token = make()
        except BaseException:
            with self._lock:
                # A refused token must not come back because no new one could be made.
                self._kept.pop(key, None)
            raise
        margin_s = min(MARGIN_S, MARGIN_SHARE * (token.expires_at - started))
        with self._lock:
            self._kept[key] = _Kept(token, token.expires_at - margin_s)
        return token

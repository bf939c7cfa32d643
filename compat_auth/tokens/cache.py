"""Cache of upstream tokens: each is kept until shortly before it expires, and one caller at a time makes it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass

from cachetools import LRUCache

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
        self._being_made: dict[Hashable, Future[Token]] = {}

    def obtain(self, key: Hashable, make: Callable[[], Token], *, fresh: bool) -> Token:
        """Return the cached token, or a new one; concurrent callers for one key get the same new token.

        Args:
            key: Everything that the token depends on.
            make: Makes a token. Every waiting caller gets the error that it raises; a failure is not cached.
            fresh: The cached token was refused; make another.
        """
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and not fresh and self._now() < kept.renew_at:
                return kept.token
            promised = self._being_made.get(key)
            is_ours = promised is None
            if promised is None:
                promised = self._being_made[key] = Future[Token]()
        return self._make(key, make, promised) if is_ours else promised.result()

    def _make(self, key: Hashable, make: Callable[[], Token], ours: Future[Token]) -> Token:
        started = self._now()
        try:
            token = make()
        except BaseException as exc:
            with self._lock:
                del self._being_made[key]
                # A refused token must not come back because no new one could be made.
                self._kept.pop(key, None)
            ours.set_exception(exc)
            raise
        margin_s = min(MARGIN_S, MARGIN_SHARE * (token.expires_at - started))
        with self._lock:
            self._kept[key] = _Kept(token, token.expires_at - margin_s)
            del self._being_made[key]
        ours.set_result(token)
        return token

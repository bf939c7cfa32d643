"""Credentials that were checked a moment ago, so that a password hash is not computed for every request.

The cache holds a keyed digest of the credential and the grant that followed, never the credential itself.
Only grants are remembered; a refusal is not.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from time import monotonic
from typing import Generic, TypeVar

Grant = TypeVar("Grant")

# A hot credential is checked again in the background when this much of its time is used up, so that nobody waits
# for the hash when it ends: with 32 connections on one credential that wait was a p99 of 893 ms.
_REFRESH_AT = 0.75
# A busy machine needs longer for a hash than a quarter of a short time is: so much sooner, but never before 0.4 of it.
_REFRESH_AHEAD_S = 1.5
_REFRESH_NOT_BEFORE = 0.4


@dataclass(slots=True)
class Remembered(Generic[Grant]):
    """A grant, its owner, and the times (monotonic seconds) at which it becomes stale and ends."""

    grant: Grant
    owner: str
    stale_at: float
    ends_at: float
    refreshing: bool = False


class GrantCache(Generic[Grant]):
    """A bounded memory of grants by credential; for one thread, such as the event loop's, or behind a lock.

    Args:
        entries: How many credentials are remembered. When the cache is full, the owner with the most grants loses the
            oldest: an owner of many credentials displaces nobody who has fewer.
        now: Clock, in seconds.
    """

    def __init__(self, entries: int, now: Callable[[], float] = monotonic) -> None:
        self._entries = entries
        self._now = now
        # A key of this process: a dump of one worker's memory says nothing about another's digests.
        self._key = secrets.token_bytes(32)
        self._remembered: dict[bytes, Remembered[Grant]] = {}
        # Of each owner, the digests in the order in which they came.
        self._owned: dict[str, dict[bytes, None]] = {}

    def digest(self, *decides: bytes) -> bytes:
        """Return the keyed digest of everything that the decision depends on, each part with its length."""
        if len(decides) == 1:
            return blake2b(decides[0], key=self._key, digest_size=32).digest()
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in decides)
        return blake2b(framed, key=self._key, digest_size=32, person=b"several").digest()

    def find(self, digest: bytes) -> Remembered[Grant] | None:
        """Return the remembered grant if it has not ended."""
        remembered = self._remembered.get(digest)
        if remembered is None:
            return None
        if self._now() >= remembered.ends_at:
            self.forget(digest)
            return None
        return remembered

    def is_stale(self, remembered: Remembered[Grant]) -> bool:
        """Return whether a hit should start a check in the background."""
        return not remembered.refreshing and self._now() >= remembered.stale_at

    def remember(self, digest: bytes, grant: Grant, for_s: float, *, owner: str = "") -> None:
        """Keep a grant for so many seconds; none are kept for 0 or less.

        Args:
            digest: Of the credential.
            grant: The grant.
            for_s: From now on.
            owner: The owner of the credential.
        """
        self.forget(digest)
        if for_s <= 0:
            return
        while len(self._remembered) >= self._entries:
            richest = max(self._owned.values(), key=len)
            self.forget(next(iter(richest)))
        now = self._now()
        stale_after_s = min(for_s * _REFRESH_AT, max(for_s - _REFRESH_AHEAD_S, for_s * _REFRESH_NOT_BEFORE))
        self._remembered[digest] = Remembered(grant, owner, now + stale_after_s, now + for_s)
        self._owned.setdefault(owner, {})[digest] = None

    def forget(self, digest: bytes) -> None:
        """Drop the grant of a credential."""
        remembered = self._remembered.pop(digest, None)
        if remembered is not None:
            owned = self._owned[remembered.owner]
            del owned[digest]
            if not owned:
                del self._owned[remembered.owner]

    def forget_those(self, concerned: Callable[[Grant], bool]) -> None:
        """Drop every grant that the revocation concerns, of any credential."""
        gone = [digest for digest, remembered in self._remembered.items() if concerned(remembered.grant)]
        for digest in gone:
            self.forget(digest)

    def __len__(self) -> int:
        return len(self._remembered)

"""Credentials that were checked a moment ago, so that a password hash is not computed for every request.

The cache holds a keyed digest of the credential and the grant that followed, never the credential itself.
Only grants are remembered; a refusal is not. Every method takes the same time however many grants there are: a
revocation marks the group of its grants, and those are dropped a few at a time.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from time import monotonic
from typing import Generic, TypeVar

from compat_auth.authn.grants.groups import Group, Ranking

Grant = TypeVar("Grant")

# A hot credential is checked again in the background when this much of its time is used up, so that nobody waits
# for the hash when it ends: with 32 connections on one credential that wait was a p99 of 893 ms.
_REFRESH_AT = 0.75
# A busy machine needs longer for a hash than a quarter of a short time is: so much sooner, but never before 0.4 of it.
_REFRESH_AHEAD_S = 1.5
_REFRESH_NOT_BEFORE = 0.4
# The order of use is exact to a second: a busy credential is not moved with every request.
_USED_EXACT_S = 1.0
# Revoked grants that each new grant drops.
_DROPPED_AT_ONCE = 8


@dataclass(slots=True)
class Remembered(Generic[Grant]):
    """A grant, its groups, and the times (monotonic seconds) at which it becomes stale, ends and was last used."""

    grant: Grant
    owner: Group
    credential: Group | None
    stale_at: float
    ends_at: float
    used_at: float
    missed: int
    refreshing: bool = False


class GrantCache(Generic[Grant]):
    """A bounded memory of grants by credential; for one thread, such as the event loop's, or behind a lock.

    Args:
        entries: How many credentials are remembered. When the cache is full, the owner with the most grants loses the
            one that was used longest ago: an owner of many credentials displaces nobody who has fewer. Among owners
            of equally many it is the one who was there longest ago.
        now: Clock, in seconds.
    """

    def __init__(self, entries: int, now: Callable[[], float] = monotonic) -> None:
        self._entries = entries
        self._now = now
        # A key of this process: a dump of one worker's memory says nothing about another's digests.
        self._key = secrets.token_bytes(32)
        self._remembered: dict[bytes, Remembered[Grant]] = {}
        self._owners: dict[str, Group] = {}
        self._credentials: dict[str, Group] = {}
        self._ranking = Ranking()
        self._revoked: deque[Group] = deque()
        self._missed = 0

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
        now = self._now()
        if now >= remembered.ends_at or self._is_revoked(remembered):
            self.forget(digest)
            return None
        if now - remembered.used_at >= _USED_EXACT_S:
            remembered.used_at = now
            remembered.owner.use(digest)
            self._ranking.use(remembered.owner)
        return remembered

    def is_stale(self, remembered: Remembered[Grant]) -> bool:
        """Return whether a hit should start a check in the background."""
        return not remembered.refreshing and self._now() >= remembered.stale_at

    def remember(self, digest: bytes, grant: Grant, for_s: float, *, owner: str = "", credential_id: str = "") -> None:
        """Keep a grant for so many seconds; none are kept for 0 or less.

        Args:
            digest: Of the credential.
            grant: The grant.
            for_s: From now on.
            owner: The owner of the credential; its case does not matter.
            credential_id: `Identity.credential_id` of the credential, or "".
        """
        self.forget(digest)
        self._drop_revoked()
        if for_s <= 0:
            return
        while len(self._remembered) >= self._entries:
            self._make_room()
        now = self._now()
        stale_after_s = min(for_s * _REFRESH_AT, max(for_s - _REFRESH_AHEAD_S, for_s * _REFRESH_NOT_BEFORE))
        whose = self._group(self._owners, owner.casefold())
        which = self._group(self._credentials, credential_id) if credential_id else None
        self._remembered[digest] = Remembered(grant, whose, which, now + stale_after_s, now + for_s, now, self._missed)
        whose.use(digest)
        self._ranking.grown(whose)
        if which is not None:
            which.use(digest)

    def forget(self, digest: bytes) -> None:
        """Drop the grant of a credential."""
        remembered = self._remembered.pop(digest, None)
        if remembered is None:
            return
        owner, credential = remembered.owner, remembered.credential
        del owner.digests[digest]
        if not owner.is_revoked:
            self._ranking.shrunk(owner)
        _leave(self._owners, owner)
        if credential is not None:
            del credential.digests[digest]
            _leave(self._credentials, credential)

    def forget_owner(self, owner: str) -> None:
        """Drop every grant of an owner."""
        group = self._owners.pop(owner.casefold(), None)
        if group is not None:
            self._ranking.remove(group)
            self._revoke(group)

    def forget_credential(self, credential_id: str) -> None:
        """Drop every grant of a credential, however it was presented."""
        group = self._credentials.pop(credential_id, None)
        if group is not None:
            self._revoke(group)

    def forget_revocable(self) -> None:
        """Drop every grant of a credential that can be revoked, because a revocation may have been missed."""
        self._missed += 1

    def __len__(self) -> int:
        return len(self._remembered)

    def _is_revoked(self, remembered: Remembered[Grant]) -> bool:
        credential = remembered.credential
        if credential is not None and (credential.is_revoked or remembered.missed != self._missed):
            return True
        return remembered.owner.is_revoked

    def _revoke(self, group: Group) -> None:
        group.is_revoked = True
        self._revoked.append(group)

    def _drop_revoked(self) -> None:
        """Drop a few grants that a revocation has ended: more than are added."""
        for _ in range(_DROPPED_AT_ONCE):
            while self._revoked and not self._revoked[0].digests:
                self._revoked.popleft()
            if not self._revoked:
                return
            self.forget(next(iter(self._revoked[0].digests)))

    def _make_room(self) -> None:
        before = len(self._remembered)
        self._drop_revoked()
        if len(self._remembered) == before:
            self.forget(next(iter(self._ranking.richest().digests)))

    def _group(self, groups: dict[str, Group], key: str) -> Group:
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(key)
        return group


def _leave(groups: dict[str, Group], group: Group) -> None:
    if not group.digests and groups.get(group.key) is group:
        del groups[group.key]

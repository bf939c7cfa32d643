"""Remembered grants by owner and by credential, and the owner who has most of them: each step in constant time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import MutableMapping
from dataclasses import dataclass, field

# A plain dict is small, but finds its first key slowly once many have gone.
_FEW = 8


@dataclass(slots=True, eq=False)
class Group:
    """Grants of one owner, or of one credential, that a revocation ends together.

    Attributes:
        key: Of the owner or the credential.
        digests: Those of its grants, by last use.
        is_revoked: A revocation has ended all of them.
        rank: Of an owner: its place in the ranking.
    """

    key: str
    digests: MutableMapping[bytes, None] = field(default_factory=dict["bytes", "None"])
    is_revoked: bool = False
    rank: Rank | None = None

    def use(self, digest: bytes) -> None:
        """Add a digest, or make it the one that was used last."""
        self.digests.pop(digest, None)
        if len(self.digests) == _FEW and not isinstance(self.digests, OrderedDict):
            self.digests = OrderedDict(self.digests)
        self.digests[digest] = None


@dataclass(slots=True, eq=False)
class Rank:
    """The owners of equally many grants, by last use, between those of fewer and of more."""

    size: int
    owners: OrderedDict[Group, None] = field(default_factory=OrderedDict["Group", "None"])
    fewer: Rank | None = None
    more: Rank | None = None


class Ranking:
    """Owners by the number of their grants."""

    def __init__(self) -> None:
        # Of no grants: always there, and always empty.
        self._none = Rank(0)
        self._most = self._none

    def richest(self) -> Group:
        """Return the owner of most grants; of several, the one who was there longest ago.

        Raises:
            StopIteration: There is no owner.
        """
        return next(iter(self._most.owners))

    def use(self, owner: Group) -> None:
        """Make an owner the one of its rank who was there last."""
        if owner.rank is not None:
            owner.rank.owners.move_to_end(owner)

    def grown(self, owner: Group) -> None:
        """Rank an owner who has one grant more than before."""
        before = owner.rank or self._none
        above = before.more
        if above is None or above.size > before.size + 1:
            above = self._insert(before)
        self._move(owner, above)

    def shrunk(self, owner: Group) -> None:
        """Rank an owner who has one grant fewer than before."""
        before = owner.rank
        if before is None:
            return
        below = before.fewer or self._none
        if below.size < before.size - 1:
            below = self._insert(below, before.size - 1)
        self._move(owner, None if below is self._none else below)

    def remove(self, owner: Group) -> None:
        """Take an owner off the ranking, however many grants it has."""
        self._move(owner, None)

    def _move(self, owner: Group, to: Rank | None) -> None:
        before = owner.rank
        if to is not None:
            to.owners[owner] = None
        owner.rank = to
        if before is not None:
            del before.owners[owner]
            if not before.owners:
                self._unlink(before)

    def _insert(self, below: Rank, size: int | None = None) -> Rank:
        rank = Rank(below.size + 1 if size is None else size, fewer=below, more=below.more)
        if below.more is None:
            self._most = rank
        else:
            below.more.fewer = rank
        below.more = rank
        return rank

    def _unlink(self, rank: Rank) -> None:
        below = rank.fewer or self._none
        below.more = rank.more
        if rank.more is None:
            self._most = below
        else:
            rank.more.fewer = below

"""Pruning: revoke the tokens of deleted users, and delete tokens that were revoked or expired long ago."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compat_auth.errors import NotAuthenticated
from compat_auth.personal_tokens.service import PersonalTokens
from compat_auth.store.tables.personal_tokens import PersonalToken

_DAY_S = 86400


@dataclass(frozen=True, slots=True)
class Pruned:
    """The result of pruning.

    Attributes:
        revoked: Tokens revoked now, because their owner has been unknown for an hour.
        waiting: Tokens that do not work now because of their owner.
        deleted: Tokens deleted, because they were revoked or expired long ago.
    """

    revoked: int
    waiting: int
    deleted: int


def _has_owner(tokens: PersonalTokens, token: PersonalToken, now: int) -> bool:
    try:
        tokens.verification.owner_of(token, now)
    except NotAuthenticated:
        return False
    return True


def prune(
    tokens: PersonalTokens, *, keep_days: int, step: Callable[[int, int], None] = lambda _done, _of: None
) -> Pruned:
    """Look up every owner once, prune, and send the notices that are due.

    Args:
        tokens: The service.
        keep_days: Days for which revoked and expired tokens are kept.
        step: Called after each owner with how many were asked, and how many there are.

    Raises:
        BackendUnavailable: The store or a directory could not be asked.
    """
    now = int(tokens.now())
    alive = tokens.rows.list(alive_at=now)
    one_of_each = {token.username: token for token in alive}
    refused: set[str] = set()
    for asked, (username, token) in enumerate(one_of_each.items(), start=1):
        if not _has_owner(tokens, token, now):
            refused.add(username)
        step(asked, len(one_of_each))
    left = {token.id for token in tokens.rows.list(alive_at=now)}
    revoked = sum(token.id not in left for token in alive)
    waiting = sum(token.id in left and token.username in refused for token in alive)
    tokens.notices.sweep()
    return Pruned(revoked, waiting, tokens.rows.delete_dead(now - keep_days * _DAY_S))

"""The fewest scopes that cover what a user's requests used: least privilege, from evidence."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from compat_auth.scopes import ALL, MAX_SCOPES, Scope, parse_scope
from compat_auth.store.database import Database
from compat_auth.usage.evidence import MAX_USES, Use, used_by
from compat_auth.usage.operations import FOLDED, LANE


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Scopes for a user's token.

    Attributes:
        username: The user.
        days: Days of requests behind it.
        scopes: The scopes; empty: the user sent no request.
        uses: The requests behind it.
        notes: What a person should know before creating the token.
    """

    username: str
    days: int
    scopes: tuple[str, ...]
    uses: tuple[Use, ...]
    notes: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The command that creates the token; "" where there is nothing to suggest."""
        if not self.scopes:
            return ""
        scopes = " ".join(f"--scope {shlex.quote(scope)}" for scope in self.scopes)
        return f"compat-auth tokens create --user {shlex.quote(self.username)} --name LABEL {scopes}"


def suggest_scopes(operations: Iterable[str]) -> tuple[str, ...]:
    """Return the fewest scopes that cover operations, and nothing that the operations do not need.

    Args:
        operations: See `compat_auth.usage.operations`; `lane` and `other` name no request and are left out.

    Returns:
        At most 50: beyond, the paths of a family become one scope for all below it.
    """
    scopes = {parse_scope(operation) for operation in operations if operation not in (LANE, FOLDED)}
    found = _without_included(scopes)
    place = _most_segments(found)
    while len(found) > MAX_SCOPES and place > 0:
        found = _without_included({_shortened(scope, place) for scope in found})
        place -= 1
    return tuple(sorted(map(str, found))) if len(found) <= MAX_SCOPES else (ALL,)


def suggest(database: Database, username: str, *, days: int = 90, now: int | None = None) -> Suggestion:
    """Return the scopes that cover what a user's requests of the last days used.

    Args:
        database: The store.
        username: The user, as the usage spells the name.
        days: Days up to today.
        now: Seconds since the epoch; None: the clock's.

    Raises:
        BackendUnavailable: The store could not be asked.
    """
    uses = used_by(database, principal=username, days=days, now=now, limit=MAX_USES + 1)
    is_cut = len(uses) > MAX_USES
    del uses[MAX_USES:]
    scopes = suggest_scopes(use.operation for use in uses)
    notes: list[str] = []
    if any(use.operation == LANE for use in uses):
        notes.append(
            "a front proxy's lane was used: its requests are not known one by one, and a limited token goes past the lane"
        )
    if any(scope.partition(" ")[2] in ("", "/") for scope in scopes):
        notes.append(
            "some requests have a path or a method that no template describes: narrow the widest scope by hand"
        )
    if is_cut:
        notes.append(f"only the {MAX_USES} most frequent kinds of requests are considered: ask for fewer days")
    return Suggestion(username, days, scopes, tuple(uses), tuple(notes))


def _without_included(scopes: Iterable[Scope]) -> set[Scope]:
    found = set(scopes)
    return {one for one in found if not any(wide != one and _includes(wide, one) for wide in found)}


def _includes(wide: Scope, narrow: Scope) -> bool:
    # Of two that include each other one must stay: the spelling decides.
    return wide.includes(narrow) and not (narrow.includes(wide) and str(narrow) < str(wide))


def _most_segments(scopes: Iterable[Scope]) -> int:
    return max((scope.path.count("/") for scope in scopes), default=0)


def _shortened(scope: Scope, segments: int) -> Scope:
    """Return the scope for all below the first segments of its path; itself where it has no more than these."""
    parts: Sequence[str] = scope.path.split("/")[1:]
    if not scope.method or len(parts) <= segments:
        return scope
    return Scope(scope.method, "/" + "/".join((*parts[: segments - 1], "")) if segments > 1 else "/")

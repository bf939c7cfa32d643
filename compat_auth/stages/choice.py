"""Chooses the rule for a use. No I/O, no Flask.

Several rules can cover a use, and the most specific one applies. One that names the principal comes first. Then comes one
with an operation: a whole path before a prefix, a longer path before a shorter one, one with a method before one without.
Then comes one that names the backend itself, then one that names the backend from which the credential was made.
Between two that are equally specific the stricter one applies. A request that can be read in several ways (a method
override, an encoded slash) gets the strictest of what its readings get.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from compat_auth.stages.rules import StageRule

_Rank = tuple[int, int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a login.

    Attributes:
        backend: The backend that accepts the credential; `upstream` for the upstream's own.
        principal: The user whose credential it is; "" where nobody knows.
        methods: The method, and every other one that the request may count as; upper case.
        path: Canonical path, ASCII.
        origins: The backends that accepted the credential from which this one was made.
        caller: Distinguishes callers whose name nobody knows; never a credential.
    """

    backend: str
    principal: str
    methods: tuple[str, ...]
    path: str
    origins: tuple[str, ...] = ()
    caller: str = ""

    def readings(self) -> Iterator[tuple[str, str]]:
        """Yield method and path of every way to read the request."""
        for path in dict.fromkeys(reading.rstrip("/") or "/" for reading in (self.path, unquote(self.path))):
            for method in self.methods:
                yield method, path


class RuleSet:
    """The rules.

    Args:
        rules: In any order.

    Attributes:
        rules: As given.
        stages_anything: Whether any rule is more than an exception.
    """

    def __init__(self, rules: Iterable[StageRule] = ()) -> None:
        self.rules = tuple(rules)
        self.stages_anything = any(rule.stage != "on" for rule in self.rules)
        self._general = tuple(rule for rule in self.rules if not rule.selector.principal)
        self._by_principal: dict[str, list[StageRule]] = {}
        for rule in self.rules:
            if rule.selector.principal:
                self._by_principal.setdefault(rule.selector.principal.casefold(), []).append(rule)

    def find(self, use: Use, now: float) -> StageRule | None:
        """Return the rule for a use at a moment; None: there is none, so that it is on."""
        if not self.stages_anything:
            return None
        named = [
            (rule, level)
            for rule in self._candidates(use.principal)
            if rule.holds(now) and (level := _backend_level(rule, use.backend, use.origins)) is not None
        ]
        if not named:
            return None
        found = [chosen for reading in use.readings() if (chosen := _choose(named, *reading, now)) is not None]
        # A reading without a rule is on, and every rule is at least as strict.
        return max(found, key=lambda rule: rule.severity(now), default=None)

    def may_concern(self, backend: str, principal: str, origins: tuple[str, ...], now: float) -> bool:
        """Return whether any use of a login by a user has, or could have, any stage except `on` from now on."""
        if not self.stages_anything:
            return False
        return any(
            rule.stage != "on" and rule.holds(now) and _backend_level(rule, backend, origins) is not None
            for rule in self._candidates(principal)
        )

    def _candidates(self, principal: str) -> Iterator[StageRule]:
        yield from self._general
        if principal and self._by_principal:
            yield from self._by_principal.get(principal.casefold(), ())


def _backend_level(rule: StageRule, backend: str, origins: tuple[str, ...]) -> int | None:
    named = rule.selector.backend
    if not named:
        return 0
    if named == backend:
        return 2
    return 1 if named in origins else None


def _choose(named: Iterable[tuple[StageRule, int]], method: str, path: str, now: float) -> StageRule | None:
    best: StageRule | None = None
    best_rank: tuple[_Rank, int] | None = None
    for rule, level in named:
        operation = rule.operation
        if operation is not None and not operation.covers(method, path):
            continue
        rank = (_rank(rule, level), rule.severity(now))
        if best_rank is None or rank > best_rank:
            best, best_rank = rule, rank
    return best


def _rank(rule: StageRule, backend_level: int) -> _Rank:
    operation = rule.operation
    is_named = int(bool(rule.selector.principal))
    if operation is None:
        return (is_named, 0, 0, 0, 0, backend_level)
    segments = operation.path.strip("/").split("/")
    literal = sum(not segment.startswith("{") for segment in segments)
    is_whole = int(not operation.path.endswith("/"))
    return (is_named, 1 + is_whole, len(segments), literal, int(bool(operation.method)), backend_level)

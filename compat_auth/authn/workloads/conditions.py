"""Conditions of a rule on one claim or one member of an object: a single value, or elements that a list must have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from compat_auth.authn.workloads.patterns import ClaimPattern, is_plain
from compat_auth.crypto.strict_json import MAX_DEPTH, is_list, is_object
from compat_auth.errors import ConfigError

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
# The first two have settings of their own, the moments are checked anyway, and a token's own name is another each time.
_NOT_IN_RULES = {"iss": "issuer", "aud": "audience", "exp": "", "iat": "", "nbf": "", "jti": ""}


@dataclass(frozen=True, slots=True)
class ClaimCondition:
    """A condition on one claim, or on one member of an object.

    Attributes:
        path: Names from the claim down to the member, such as `("kubernetes.io", "namespace")`; no name is split at a dot.
        patterns: For a single value one. For a list: for each there must be an element that matches it as a whole.
        of_list: Whether the value must be a list. A list is never taken for one of its elements, nor an element for a list.
    """

    path: tuple[str, ...]
    patterns: tuple[ClaimPattern, ...]
    of_list: bool = False

    @property
    def name(self) -> str:
        """The path as TOML writes it; the claim's name alone where that is plain."""
        return written(self.path)

    def holds(self, claims: Mapping[str, Any]) -> bool:
        """Return whether the claims have what is wanted; a value of another type never is."""
        value = member(claims, self.path)
        if not self.of_list:
            return self.patterns[0].matches(value)
        # An element of another type makes the whole list one that its issuer did not document.
        if not is_list(value) or not _is_uniform(value):
            return False
        return all(any(pattern.matches(element) for element in value) for pattern in self.patterns)


def read_conditions(table: Mapping[str, object], where: str) -> tuple[ClaimCondition, ...]:
    """Return the conditions in the `claims` of a rule.

    Args:
        table: As configured. A table stands for an object, so that `"kubernetes.io".namespace = "etl"` and
            `"kubernetes.io" = { namespace = "etl" }` mean the same (TOML 1.0.0, "Dotted keys").
        where: What to call the table in an error.

    Raises:
        ConfigError: No claim could be what is wanted, or the claim is not for a rule.
    """
    return tuple(_read(table, (), where))


def written(path: tuple[str, ...]) -> str:
    """Return names as TOML writes them: with dots between them, and in quotes where one is more than a bare key."""
    # A plain name has no control characters, so that JSON's text is TOML's.
    return ".".join(name if _BARE.match(name) else json.dumps(name, ensure_ascii=False) for name in path)


def member(claims: Mapping[str, Any], path: tuple[str, ...]) -> object:
    """Return a member; None where there is none, or where a list or a text is in its place."""
    value: object = dict(claims)
    for name in path:
        if not is_object(value) or name not in value:
            return None
        value = value[name]
    return value


def _read(table: Mapping[str, object], above: tuple[str, ...], where: str) -> Iterator[ClaimCondition]:
    for name, wanted in table.items():
        path = (*above, name)
        here = f"{where}.{written(path)}" if is_plain(name) else where
        if not is_plain(name):
            raise ConfigError(f"{here}: a name that is not plain text (NFKC, printable), or too long; type it again")
        if not above and name in _NOT_IN_RULES:
            setting = _NOT_IN_RULES[name]
            raise ConfigError(f"{here}: not for a rule; " + (f"set {setting} instead" if setting else "remove it"))
        if not above and name == "sub" and not isinstance(wanted, str):
            raise ConfigError(f"{here}: always a single text (RFC 7519 section 4.1.2); write it in quotes")
        if is_object(wanted):
            if not wanted or len(path) >= MAX_DEPTH - 1:
                raise ConfigError(f"{here}: an empty or a very deep table; write what a member must be, or remove it")
            yield from _read(wanted, path, where)
        elif is_list(wanted):
            yield ClaimCondition(path, _elements(wanted, here), of_list=True)
        else:
            yield ClaimCondition(path, (_pattern(wanted, here),))


def _elements(wanted: list[object], where: str) -> tuple[ClaimPattern, ...]:
    if not wanted:
        raise ConfigError(f"{where}: an empty list; write what the claim's list must have, or remove it")
    if not _is_uniform(wanted):
        raise ConfigError(
            f"{where}: elements that are not all texts, all whole numbers or all truth values; write one type"
        )
    return tuple(_pattern(element, where) for element in wanted)


def _is_uniform(elements: list[Any]) -> bool:
    # A bool is an int to Python.
    return any(all(type(element) is kind for element in elements) for kind in (str, int, bool)) and elements != []


def _pattern(wanted: object, where: str) -> ClaimPattern:
    if not isinstance(wanted, str | int):
        raise ConfigError(f"{where}: no text, whole number, true or false; write one of these")
    return ClaimPattern.parse(wanted, where=where)

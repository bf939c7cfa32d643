"""Patterns for claims: a text with wildcards, a number, or true or false. Matched in linear time, with case."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from compat_auth.errors import ConfigError

MAX_CHARS = 1024
_WILDCARDS = re.compile(r"(\*+)")
_ONE, _ANY = "*", "**"
_SEPARATORS = frozenset(":/")


@dataclass(frozen=True, slots=True)
class ClaimPattern:
    """A pattern for one claim; compares without any conversion of types, and with case.

    Attributes:
        wanted: As configured: a text, in which `*` is one or more characters other than `:` and `/`, and `**` one or more
            of any kind; or a number or truth value, which the claim must be.
    """

    wanted: str | int

    @classmethod
    def parse(cls, wanted: str | int, *, where: str) -> ClaimPattern:
        """Return the pattern.

        Raises:
            ConfigError: No claim could match it, or it is ambiguous.
        """
        if isinstance(wanted, str):
            if not wanted:
                raise ConfigError(f"{where}: empty; write what the claim must be, or remove it")
            if not is_plain(wanted):
                raise ConfigError(
                    f"{where}: not plain text (NFKC, printable), which no claim could match; type it again"
                )
            if "***" in wanted:
                raise ConfigError(f"{where}: more than two asterisks in a row; write * or **")
        return cls(wanted)

    @property
    def has_wildcard(self) -> bool:
        """Whether more than one text matches."""
        return isinstance(self.wanted, str) and "*" in self.wanted

    @property
    def beginning(self) -> str:
        """The text before the first wildcard; "" for a number or truth value."""
        return self.wanted.partition("*")[0] if isinstance(self.wanted, str) else ""

    @property
    def end(self) -> str:
        """The text after the last wildcard; "" for a number or truth value."""
        return self.wanted.rpartition("*")[2] if isinstance(self.wanted, str) else ""

    def matches(self, value: object) -> bool:
        """Return whether a claim is what is wanted; one of another type never is."""
        if not isinstance(self.wanted, str):
            # A bool is an int to Python.
            return type(value) is type(self.wanted) and value == self.wanted
        if not isinstance(value, str) or not is_plain(value):
            return False
        return _matches(_WILDCARDS.split(self.wanted), value)


def is_plain(text: str) -> bool:
    """Return whether a text has one reading: printable, not too long, and nothing that folds into other letters.

    A full-width slash is no slash to a pattern, and one to whatever folds it (NFKC).
    """
    return 0 < len(text) <= MAX_CHARS and text.isprintable() and unicodedata.is_normalized("NFKC", text)


def _matches(parts: list[str], text: str) -> bool:
    # The places in the text that can be reached; a backtracking search would be slow for a branch of somebody's choice.
    reached = {0}
    for part in parts:
        match part:
            case "":
                continue
            case "*" | "**":
                reached = _after_wildcard(reached, text, _SEPARATORS if part == _ONE else frozenset())
            case _:
                reached = {place + len(part) for place in reached if text.startswith(part, place)}
    return len(text) in reached


def _after_wildcard(reached: set[int], text: str, stops: frozenset[str]) -> set[int]:
    found: set[int] = set()
    inside = False
    for place, character in enumerate(text):
        inside = (inside or place in reached) and character not in stops
        if inside:
            found.add(place + 1)
    return found

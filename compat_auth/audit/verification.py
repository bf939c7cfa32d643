"""Verifies the chains in an audit log. No I/O."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from compat_auth.audit.chain import CHAIN_FIELDS, hash_of
from compat_auth.crypto.strict_json import parse_object

_LOGGER = "compat_auth.audit"
# What the log in JSON adds to an event.
_ADDED = frozenset(("level", "logger"))


@dataclass(slots=True)
class _End:
    number: int
    last: str


@dataclass(slots=True)
class ChainVerifier:
    """Verifies lines, file after file in the order in which they were written.

    Attributes:
        key: `audit.chain_key`; b"" for none.
        events: Events that were verified.
        late: The number of the first event, of each chain that begins later than with its first one.
    """

    key: bytes = field(repr=False)
    events: int = 0
    late: dict[str, int] = field(default_factory=dict[str, int])
    _ends: dict[str, _End] = field(default_factory=dict[str, "_End"])

    @property
    def chains(self) -> int:
        """How many chains there are."""
        return len(self._ends)

    def find_fault(self, lines: Iterable[str]) -> tuple[int, str] | None:
        """Return the number of the first line that breaks a chain, from 1, and why; None if there is none."""
        for number, line in enumerate(lines, start=1):
            fault = self._check(line)
            if fault:
                return number, fault
        return None

    def _check(self, line: str) -> str:
        text = _event_in(line)
        if text is None:
            return ""
        try:
            event: dict[str, Any] = dict(parse_object(text.encode("utf-8", "surrogateescape")))
        except ValueError:
            return "an audit event that is no JSON object"
        if any(name not in event for name in CHAIN_FIELDS):
            return "an audit event without a hash: it was inserted, or written by an older version"
        claimed = str(event.pop("hash"))
        content = {name: value for name, value in event.items() if name not in _ADDED}
        if not hmac.compare_digest(claimed.encode(), hash_of(json.dumps(content), self.key).encode()):
            return "its hash is wrong: the event was changed, or audit.chain_key is another one"
        return self._follow(str(event["chain"]), event["seq"], str(event["prev"]), claimed)

    def _follow(self, chain: str, number: object, before: str, own: str) -> str:
        if not isinstance(number, int):
            return "its number is none"
        end = self._ends.get(chain)
        if end is None:
            if number != 1:
                self.late[chain] = number
        elif number != end.number + 1:
            return f"event {number} of chain {chain} follows event {end.number}: events were removed or moved"
        elif before != end.last:
            return f"event {number} of chain {chain} does not follow the event before it: that one was replaced"
        self._ends[chain] = _End(number, own)
        self.events += 1
        return ""


def _event_in(line: str) -> str | None:
    """Return the JSON of an audit event in a line of the log, in text or JSON; None for every other line."""
    line = line.strip()
    if line.startswith("{"):
        # Other lines of a log in JSON name another logger.
        is_other = '"logger": "' in line and f'"logger": "{_LOGGER}"' not in line
        return None if is_other or not line else line
    _, found, rest = line.partition(f" {_LOGGER} ")
    return rest if found and not rest.startswith(" ") else None

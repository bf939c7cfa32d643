"""Verifies the chains in an audit log. No I/O."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from compat_auth.audit.chain import CHAIN_FIELDS, hash_of
from compat_auth.crypto.strict_json import is_object, parse_object

_LOGGER = "compat_auth.audit"
_MARK = f" {_LOGGER} "
# Events of the log itself: without a hash, they were inserted, whatever logger a line names.
_OURS = frozenset(("lost", "verdict"))
_TYPE = "compat_auth."
# How often a glued line is searched for the beginning of an event.
_MOST_BEGINNINGS = 64
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
        torn: Lines of which only a part was written, as (file's place in the order, number of the line), both from 1.
    """

    key: bytes = field(repr=False)
    events: int = 0
    late: dict[str, int] = field(default_factory=dict[str, int])
    torn: list[tuple[int, int]] = field(default_factory=list["tuple[int, int]"])
    _files: int = 0
    _ends: dict[str, _End] = field(default_factory=dict[str, "_End"])

    @property
    def chains(self) -> int:
        """How many chains there are."""
        return len(self._ends)

    def find_fault(self, lines: Iterable[str]) -> tuple[int, str] | None:
        """Return the number of the first line that breaks a chain, from 1, and why; None if there is none.

        A line that a full disk or a killed process has torn breaks none: its event is not in the chain. One that somebody
        has cut breaks the chain at the next event.
        """
        self._files += 1
        for number, line in enumerate(lines, start=1):
            text = _event_in(line)
            if text is not None and not _is_json(text):
                self.torn.append((self._files, number))
                text = _event_after(text)
            fault = "" if text is None else self._check(text)
            if fault:
                return number, fault
        return None

    def _check(self, text: str) -> str:
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
    """Return the JSON, or its torn beginning, of an audit event in a line of the log; None for every other line.

    A collector may have written a prefix of its own before the line, as journald does.
    """
    line = line.strip()
    before, mark, rest = line.partition(_MARK)
    if mark and "{" not in before:
        return None if rest.startswith(" ") else rest
    start = line.find("{")
    if start < 0:
        return None
    text = line[start:]
    try:
        content: object = json.loads(text)
    except ValueError:
        # Other lines of a log in JSON name another logger, and messages of the log in text have braces.
        names_other = '"logger": "' in text and f'"logger": "{_LOGGER}"' not in text
        is_ours = f'"{_LOGGER}"' in text or f'"{_TYPE}' in text or any(f'"{name}"' in text for name in _OURS)
        return text if is_ours or (start == 0 and not names_other) else None
    except RecursionError:
        return text
    return text if is_object(content) and _is_event(content, is_alone=start == 0) else None


def _is_event(content: Mapping[str, Any], *, is_alone: bool) -> bool:
    """Return whether a JSON object is an audit event, or is meant to look like one.

    Args:
        content: The object.
        is_alone: It is the whole line, as in an audit file.
    """
    if content.get("logger", _LOGGER if is_alone else "") == _LOGGER:
        return True
    kind, event = content.get("type"), content.get("event")
    return (isinstance(event, str) and event in _OURS) or (isinstance(kind, str) and kind.startswith(_TYPE))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    except RecursionError:
        # Deep, but no line that was torn.
        return True
    return True


def _event_after(text: str) -> str | None:
    """Return the event that a new process has written behind half of a line; None if there is none."""
    start = 0
    for _ in range(_MOST_BEGINNINGS):
        # Within a string of JSON, the quote would be escaped.
        start = text.find('{"', start + 1)
        if start < 0:
            return None
        try:
            content: object = json.loads(text[start:])
        except (ValueError, RecursionError):
            continue
        return text[start:] if is_object(content) and all(name in content for name in CHAIN_FIELDS) else None
    return None

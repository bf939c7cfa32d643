"""The lines of a text: those of an editor, and those that a backslash at the end joins."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_CONTINUES = re.compile(r"\\\r?\n\Z")


class Lines:
    """A text with the places where its lines begin.

    Attributes:
        text: The text.
        whole: The lines, each with its end.
        starts: Where each line begins.
    """

    def __init__(self, text: str) -> None:
        """Split a text at its newlines, and nowhere else, as compilers and shells do."""
        self.text = text
        self.whole = _LINE.findall(text)
        self.starts: list[int] = []
        position = 0
        for line in self.whole:
            self.starts.append(position)
            position += len(line)

    def index(self, position: int) -> int:
        """Return which line holds a position, from 0."""
        return max(bisect_right(self.starts, position) - 1, 0)

    @cached_property
    def joined(self) -> list[tuple[int, int]]:
        """Where each logical line begins and ends: a backslash at the end of a line joins it with the next."""
        return list(self._join())

    @cached_property
    def _joined_starts(self) -> list[int]:
        return [begin for begin, _ in self.joined]

    def joined_at(self, position: int) -> tuple[int, int]:
        """Return where the logical line that holds a position begins and ends."""
        return self.joined[max(bisect_right(self._joined_starts, position) - 1, 0)]

    def _join(self) -> Iterator[tuple[int, int]]:
        begin = position = 0
        for line in self.whole:
            position += len(line)
            if not _CONTINUES.search(line[-3:]):
                yield begin, position
                begin = position
        if begin < position or not self.whole:
            yield begin, position

"""Reads what the replicas write to their logs: no traceback, no credential."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

LONGEST_BYTES: Final = 2 * 2**20
"""A log is emptied when it is longer, so that an hour fits on a small disk."""
AROUND: Final = 12
_TRACEBACK: Final = "Traceback (most recent call last)"


class LogReader:
    """Reads each log from where it stopped.

    Attributes:
        lines: How many lines it has read.
    """

    def __init__(self, logs: Iterable[Path], is_secret: Callable[[str], bool]) -> None:
        self.lines = 0
        self._places = dict.fromkeys(logs, 0)
        self._is_secret = is_secret

    def read(self) -> list[str]:
        """Return what must not be there and has come since the last time."""
        found: list[str] = []
        for log, place in list(self._places.items()):
            with log.open("rb") as content:
                content.seek(place)
                # The last line may still be written.
                new = content.read().rpartition(b"\n")[0]
            self._places[log] = place + len(new)
            found += self._judge(log, new.decode(errors="replace").splitlines())
            if self._places[log] > LONGEST_BYTES:
                # Written by appending, so the next line is the first of the file.
                os.truncate(log, 0)
                self._places[log] = 0
        return found

    def _judge(self, log: Path, lines: list[str]) -> list[str]:
        self.lines += len(lines)
        found = [f"{log.name}: a secret" for line in lines if self._is_secret(line)]
        for number, line in enumerate(lines):
            if _TRACEBACK in line:
                around = [one for one in lines[number : number + 60] if not self._is_secret(one)]
                found.append(f"{log.name}: {' | '.join([*around[:4], '…', *around[-AROUND:]])}"[:4000])
        return found

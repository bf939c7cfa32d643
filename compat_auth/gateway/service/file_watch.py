"""Notices that files have changed, once they are quiet: a file that is being written is not read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

QUIET_S = 1.0
"""Seconds for which nothing may change before a change counts."""

State = tuple[tuple[int, ...] | None, ...]


class FileWatch:
    """The files that a configuration is made of.

    Args:
        files: Their paths.
        monotonic: Clock, in seconds.
    """

    def __init__(self, files: Iterable[Path], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._files = tuple(files)
        self._monotonic = monotonic
        self._known = self._seen = self._look()
        self._since = monotonic()

    def has_changed(self) -> bool:
        """Return whether a file has changed since the last time that this was true, and is quiet since."""
        now, state = self._monotonic(), self._look()
        if state != self._seen:
            self._seen, self._since = state, now
        if self._seen == self._known or now - self._since < QUIET_S:
            return False
        self._known = self._seen
        return True

    def _look(self) -> State:
        return tuple(map(_state_of, self._files))


def _state_of(path: Path) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)  # noqa: PTH116  # as quick as it can be: it is asked twice a second
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev, status.st_mode

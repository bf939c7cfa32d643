"""How far long work has got, on standard error, if that is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

_EVERY_S = 0.1
_CELLS = 24

Step = Callable[[int, int], None]
"""Says how much is done of how much; 0 for an unknown sum."""


@contextmanager
def progress(label: str, *, monotonic: Callable[[], float] = time.monotonic) -> Generator[Step]:
    """Yield a function that shows progress in one line of the terminal, ten times a second at most.

    The line is removed at the end. Where standard error is no terminal, nothing is written.

    Args:
        label: The work, such as "migrate".
        monotonic: Clock, in seconds.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _of: None
        return
    shown = [-_EVERY_S]

    def show(done: int, of: int) -> None:
        if (now := monotonic()) - shown[0] >= _EVERY_S:
            shown[0] = now
            sys.stderr.write(f"\r\x1b[K{progress_line(label, done, of)}")
            sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def progress_line(label: str, done: int, of: int) -> str:
    """Return the line for a state; without a bar if the sum is unknown."""
    if of <= 0:
        return f"{label}: {done}"
    done = min(done, of)
    full = _CELLS * done // of
    return f"{label}: [{'#' * full}{'.' * (_CELLS - full)}] {done}/{of} {100 * done // of} %"

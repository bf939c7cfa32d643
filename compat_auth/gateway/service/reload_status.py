"""How the reloads of the configuration went, in memory that the parent shares with all workers."""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

_PAGE = struct.Struct("=Iid")


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """The state at one time.

    Attributes:
        generation: Number of the configuration that serves; the one of the start is 1.
        has_failed: Whether the last reload failed, so that an older configuration serves.
        loaded_at: When the configuration that serves was loaded, in seconds since the epoch.
    """

    generation: int
    has_failed: bool
    loaded_at: float


class ReloadStatus:
    """The shared memory; create it before the fork. Only the parent writes.

    Args:
        now: Seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._page = mmap.mmap(-1, _PAGE.size)
        _PAGE.pack_into(self._page, 0, 1, 0, now())

    def read(self) -> ReloadResult:
        """Return the state now."""
        generation, failed, loaded_at = _PAGE.unpack_from(self._page)
        return ReloadResult(int(generation), bool(failed), float(loaded_at))

    def succeed(self) -> None:
        """Record that another configuration serves."""
        _PAGE.pack_into(self._page, 0, self.read().generation + 1, 0, self._now())

    def fail(self) -> None:
        """Record that a reload failed, and the configuration before goes on."""
        known = self.read()
        _PAGE.pack_into(self._page, 0, known.generation, 1, known.loaded_at)

"""What the processes of one replica know of each other: a page of memory that the parent shares with its workers.

Times are of the monotonic clock, which is one clock for all processes of a machine.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Callable
from enum import IntEnum

REPLICA = "compat_auth.replica"
"""Key in an ASGI scope's `state`: the `WorkerStates` of the replica; missing where another server runs the application."""

# After so long a worker is not merely busy: `ready` says so before it is replaced.
MAX_SILENCE_S = 5.0

_SLOT = struct.Struct("=di")
_STOP = struct.Struct("=i")
_FIRST_SLOT = 16
_SLOT_BYTES = 16


class Phase(IntEnum):
    """How far a worker has come."""

    STARTING = 0
    SERVING = 1
    STOPPING = 2
    CLOSED = 3
    """It takes no connection any more, and serves those that it has."""


class Stop(IntEnum):
    """How quickly the replica ends; each is quicker than the one before."""

    NOT = 0
    DRAINED = 1
    """First `ready` says so, and the listener closes a moment later."""
    SOON = 2
    """The listener closes at once, and requests have their time."""
    NOW = 3
    """Requests that wait are answered with 503."""


class WorkerStates:
    """The shared page; make it before the fork.

    Args:
        workers: How many there are.
        silence_s: A worker that has not given a sign for so long does not respond.
        now: A clock that all processes share, in seconds.
    """

    def __init__(self, workers: int, *, silence_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self.workers = workers
        self.silence_s = silence_s
        self._now = now
        self._page = mmap.mmap(-1, _FIRST_SLOT + workers * _SLOT_BYTES)

    @property
    def stop(self) -> Stop:
        """How quickly the replica is to end."""
        return Stop(_STOP.unpack_from(self._page)[0])

    @stop.setter
    def stop(self, level: Stop) -> None:
        _STOP.pack_into(self._page, 0, level)

    def beat(self, worker: int, phase: Phase) -> None:
        """Give the sign of a worker: its event loop turns."""
        _SLOT.pack_into(self._page, _FIRST_SLOT + worker * _SLOT_BYTES, self._now(), phase)

    def phase(self, worker: int) -> Phase:
        """Return how far a worker has come."""
        return Phase(self._slot(worker)[1])

    def silent_for(self, worker: int) -> float:
        """Return the seconds since a worker's last sign."""
        return self._now() - self._slot(worker)[0]

    def hung(self) -> list[int]:
        """Return the workers that have served, and give no sign."""
        limit = min(self.silence_s, MAX_SILENCE_S)
        return [
            worker
            for worker in range(self.workers)
            if self.phase(worker) is not Phase.STARTING and self.silent_for(worker) > limit
        ]

    def why_not_ready(self) -> str:
        """Return why the replica should get no new requests; "" when it should."""
        if self.stop is not Stop.NOT:
            return "the replica is stopping"
        hung = self.hung()
        return f"{len(hung)} of {self.workers} workers do not respond" if hung else ""

    def _slot(self, worker: int) -> tuple[float, int]:
        beat, phase = _SLOT.unpack_from(self._page, _FIRST_SLOT + worker * _SLOT_BYTES)
        return float(beat), int(phase)

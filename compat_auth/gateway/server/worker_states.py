"""The states of a replica's processes, in memory that the parent shares with its workers.

Times come from the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Callable
from enum import IntEnum

from compat_auth.gateway.service.reload_status import ReloadStatus

REPLICA = "compat_auth.replica"
"""Key in an ASGI scope's `state`: the replica's `WorkerStates`; missing if another server runs the application."""

# A worker that is silent for longer is not merely busy: `ready` reports it before the parent replaces it.
MAX_SILENCE_S = 5.0

_SLOT = struct.Struct("=di")
_STOP = struct.Struct("=i")
_RELOADS = struct.Struct("=I")
_FLAG = struct.Struct("=i")
_HELD_AT = 4
_RELOADS_AT = 8
_REPLACED_AT = 12
_FIRST_SLOT = 16
_SLOT_BYTES = 16


class Phase(IntEnum):
    """The phase of a worker's life."""

    STARTING = 0
    SERVING = 1
    STOPPING = 2
    CLOSED = 3
    """The worker accepts no more connections, and serves those that it has."""
    PREPARED = 4
    """The worker could serve, and waits until all others of its configuration could."""


class Stop(IntEnum):
    """How quickly the replica stops; each value is quicker than the one before."""

    NOT = 0
    DRAINED = 1
    """First `ready` reports it, and the listener closes `drain_s` later."""
    SOON = 2
    """The listener closes at once, and pending requests may finish."""
    NOW = 3
    """Pending requests get 503."""


class WorkerStates:
    """The shared memory; create it before the fork.

    Args:
        workers: The number of workers.
        silence_s: A worker without a heartbeat for this long does not respond.
        now: A clock that all processes share, in seconds.
        reloads: How the reloads of the configuration went; None: nobody reloads it.

    Attributes:
        reload_status: How the reloads of the configuration went.
    """

    def __init__(
        self,
        workers: int,
        *,
        silence_s: float,
        now: Callable[[], float] = time.monotonic,
        reloads: ReloadStatus | None = None,
    ) -> None:
        self.workers = workers
        self.silence_s = silence_s
        self.reload_status = reloads or ReloadStatus()
        self._now = now
        self._page = mmap.mmap(-1, _FIRST_SLOT + workers * _SLOT_BYTES)

    @property
    def stop(self) -> Stop:
        """How quickly the replica must stop."""
        return Stop(_STOP.unpack_from(self._page)[0])

    @stop.setter
    def stop(self, level: Stop) -> None:
        _STOP.pack_into(self._page, 0, level)

    @property
    def is_held(self) -> bool:
        """Whether workers that could serve must wait: no worker accepts a connection before all of them could."""
        return bool(_FLAG.unpack_from(self._page, _HELD_AT)[0])

    @is_held.setter
    def is_held(self, value: bool) -> None:
        _FLAG.pack_into(self._page, _HELD_AT, value)

    @property
    def is_replaced(self) -> bool:
        """Whether workers with a newer configuration accept the connections now."""
        return bool(_FLAG.unpack_from(self._page, _REPLACED_AT)[0])

    @is_replaced.setter
    def is_replaced(self, value: bool) -> None:
        _FLAG.pack_into(self._page, _REPLACED_AT, value)

    @property
    def reloads(self) -> int:
        """How often the workers were asked to read their files again."""
        return int(_RELOADS.unpack_from(self._page, _RELOADS_AT)[0])

    def ask_reload(self) -> None:
        """Ask all workers to read again the files that they can replace while they serve."""
        _RELOADS.pack_into(self._page, _RELOADS_AT, (self.reloads + 1) % 2**32)

    def beat(self, worker: int, phase: Phase) -> None:
        """Record the heartbeat of a worker: its event loop runs."""
        _SLOT.pack_into(self._page, _FIRST_SLOT + worker * _SLOT_BYTES, self._now(), phase)

    def phase(self, worker: int) -> Phase:
        """Return the phase of a worker."""
        return Phase(self._slot(worker)[1])

    def silent_for(self, worker: int) -> float:
        """Return the seconds since a worker's last heartbeat."""
        return self._now() - self._slot(worker)[0]

    def hung(self) -> list[int]:
        """Return the workers that have started and no longer send a heartbeat."""
        limit = min(self.silence_s, MAX_SILENCE_S)
        return [
            worker
            for worker in range(self.workers)
            if self.phase(worker) is not Phase.STARTING and self.silent_for(worker) > limit
        ]

    def phases(self) -> dict[str, int]:
        """Return how many workers there are, by phase; a worker without a heartbeat is `hung`."""
        hung = set(self.hung())
        names = ["hung" if worker in hung else self.phase(worker).name.lower() for worker in range(self.workers)]
        kinds = (*(phase.name.lower() for phase in Phase), "hung")
        return {kind: names.count(kind) for kind in kinds}

    def why_not_ready(self) -> str:
        """Return why the replica should get no new requests; "" if it should get them."""
        if self.is_replaced:
            # Its own workers end one by one; new requests go to those that have replaced them.
            return ""
        if self.stop is not Stop.NOT:
            return "the replica is stopping"
        hung = self.hung()
        return f"{len(hung)} of {self.workers} workers do not respond" if hung else ""

    def _slot(self, worker: int) -> tuple[float, int]:
        beat, phase = _SLOT.unpack_from(self._page, _FIRST_SLOT + worker * _SLOT_BYTES)
        return float(beat), int(phase)

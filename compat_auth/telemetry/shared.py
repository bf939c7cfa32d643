"""The numbers of all workers, in memory that the parent shares with them: any worker answers a scrape for all.

Each worker writes its numbers every half second. The worker that replaces another one continues with its counters, so
that they never decrease.
"""

from __future__ import annotations

import json
import logging
import mmap
import struct
import zlib
from collections.abc import Callable
from typing import Any

from compat_auth.telemetry.counts import Snapshot, merge

logger = logging.getLogger("compat_auth.metrics")

SLOT_BYTES = 256 * 1024
"""Most bytes for the numbers of one worker; a page that nobody writes takes no memory."""
_HEAD = struct.Struct("=I")
_PART = struct.Struct("=II")
_HALF = (SLOT_BYTES - _HEAD.size) // 2
_GAUGES = "gauges"
_COUNTS = "counts"


class SharedNumbers:
    """The shared memory; create it before the fork.

    Args:
        workers: The number of workers.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._page = mmap.mmap(-1, workers * SLOT_BYTES)
        self._is_full = False

    def write(self, worker: int, counts: Snapshot, gauges: Snapshot) -> None:
        """Publish the numbers of a worker."""
        data = json.dumps({_COUNTS: _plain(counts), _GAUGES: _plain(gauges)}).encode()
        if len(data) > _HALF - _PART.size:
            if not self._is_full:
                self._is_full = True
                logger.warning("metrics: %d bytes are too many for one worker; its numbers stand still", len(data))
            return
        start = worker * SLOT_BYTES
        # A reader may be in the half that is valid now: the other half is written, and then becomes the valid one.
        half = 2 if _HEAD.unpack_from(self._page, start)[0] == 1 else 1
        at = start + _HEAD.size + (half - 1) * _HALF
        _PART.pack_into(self._page, at, len(data), zlib.crc32(data))
        self._page[at + _PART.size : at + _PART.size + len(data)] = data
        _HEAD.pack_into(self._page, start, half)

    def keep_counts(self, worker: int) -> None:
        """Forget the gauges of a worker that has ended; its counters stay, and a later worker continues with them."""
        content = self._read(worker)
        if content.get(_GAUGES):
            self.write(worker, _typed(content[_COUNTS]), {})

    def counts(self, worker: int) -> Snapshot:
        """Return the counters that a worker has published last."""
        return _typed(self._read(worker).get(_COUNTS, {}))

    def gauges(self, worker: int) -> Snapshot:
        """Return the gauges that a worker has published last."""
        return _typed(self._read(worker).get(_GAUGES, {}))

    def _read(self, worker: int) -> dict[str, Any]:
        start = worker * SLOT_BYTES
        for _ in range(3):
            half = _HEAD.unpack_from(self._page, start)[0]
            if half == 0:
                return {}
            at = start + _HEAD.size + (half - 1) * _HALF
            size, checksum = _PART.unpack_from(self._page, at)
            data = self._page[at + _PART.size : at + _PART.size + size]
            if zlib.crc32(data) == checksum:
                content: dict[str, Any] = json.loads(data)
                return content
        return {}


class WorkerNumbers:
    """The numbers of one worker.

    Args:
        shared: The memory of all workers.
        worker: Number of this worker.
        counts: Returns the counters of this process.
        gauges: Returns the gauges of this process.
    """

    def __init__(
        self, shared: SharedNumbers, worker: int, counts: Callable[[], Snapshot], gauges: Callable[[], Snapshot]
    ) -> None:
        self._shared = shared
        self._worker = worker
        self._counts = counts
        self._gauges = gauges
        # What the worker before has counted.
        self._base = shared.counts(worker)

    def publish(self) -> None:
        """Write the numbers for the other workers."""
        self._shared.write(self._worker, merge([self._base, self._counts()]), self._gauges())

    def of_all(self) -> Snapshot:
        """Return the sums of all workers: this one's as they are now, the others' at most half a second old."""
        self.publish()
        workers = range(self._shared.workers)
        return merge([part(worker) for worker in workers for part in (self._shared.counts, self._shared.gauges)])


def _plain(numbers: Snapshot) -> dict[str, list[list[Any]]]:
    return {family: [[list(labels), values] for labels, values in series.items()] for family, series in numbers.items()}


def _typed(content: dict[str, list[list[Any]]]) -> Snapshot:
    return {family: {tuple(labels): values for labels, values in series} for family, series in content.items()}

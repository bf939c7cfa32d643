"""The metrics of one worker of `compat-auth serve`: it publishes its numbers, and answers scrapes for all workers."""

from __future__ import annotations

import socket
from collections.abc import Callable

from compat_auth.gateway.service.reload_status import ReloadStatus
from compat_auth.gateway.telemetry.listener import MetricsListener
from compat_auth.gateway.telemetry.scrape import ProcessNumbers, Surroundings
from compat_auth.telemetry import families
from compat_auth.telemetry.counts import Snapshot, merge
from compat_auth.telemetry.shared import SharedNumbers, WorkerNumbers


class WorkerMetrics:
    """One worker.

    Args:
        process: The numbers of this process.
        surroundings: The values that are the same for all workers.
        shared: The memory of all workers.
        worker: Number of this worker.
        states: Returns how many workers there are, by state.
        reloads: How the reloads of the configuration went; None: nobody reloads it.
    """

    def __init__(
        self,
        process: ProcessNumbers,
        surroundings: Surroundings,
        shared: SharedNumbers,
        worker: int,
        states: Callable[[], dict[str, int]],
        reloads: ReloadStatus | None = None,
    ) -> None:
        self._reloads = reloads
        self._numbers = WorkerNumbers(shared, worker, process.counts, process.gauges)
        self._states = states
        self._listener = MetricsListener(surroundings, self.of_all)

    def of_all(self) -> Snapshot:
        """Return the numbers of all workers."""
        workers: Snapshot = {
            families.WORKERS.name: {(state,): [float(number)] for state, number in self._states().items()}
        }
        return merge([self._numbers.of_all(), workers, self._of_reloads()])

    def _of_reloads(self) -> Snapshot:
        if self._reloads is None:
            return {}
        result = self._reloads.read()
        return {
            families.CONFIG_GENERATION.name: {(): [float(result.generation)]},
            families.CONFIG_LOADED.name: {(): [result.loaded_at]},
            families.CONFIG_RELOADED.name: {(): [float(not result.has_failed)]},
        }

    def publish(self) -> None:
        """Write the numbers for the other workers."""
        self._numbers.publish()

    async def open(self, listener: socket.socket) -> None:
        """Answer scrapes from now on."""
        await self._listener.open(listener)

    def stop_answering(self) -> None:
        """Answer no more scrapes: others do, with the numbers that this worker goes on to publish."""
        self._listener.close()

    def close(self) -> None:
        """Publish the last numbers, and answer no more scrapes."""
        self.publish()
        self._listener.close()

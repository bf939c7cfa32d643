"""The metrics of one worker of `compat-auth serve`: it publishes its numbers, and answers scrapes for all workers."""

from __future__ import annotations

import socket
from collections.abc import Callable

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
    """

    def __init__(
        self,
        process: ProcessNumbers,
        surroundings: Surroundings,
        shared: SharedNumbers,
        worker: int,
        states: Callable[[], dict[str, int]],
    ) -> None:
        self._numbers = WorkerNumbers(shared, worker, process.counts, process.gauges)
        self._states = states
        self._listener = MetricsListener(surroundings, self.of_all)

    def of_all(self) -> Snapshot:
        """Return the numbers of all workers."""
        workers: Snapshot = {
            families.WORKERS.name: {(state,): [float(number)] for state, number in self._states().items()}
        }
        return merge([self._numbers.of_all(), workers])

    def publish(self) -> None:
        """Write the numbers for the other workers."""
        self._numbers.publish()

    async def open(self, listener: socket.socket) -> None:
        """Answer scrapes from now on."""
        await self._listener.open(listener)

    def close(self) -> None:
        """Publish the last numbers, and answer no more scrapes."""
        self.publish()
        self._listener.close()

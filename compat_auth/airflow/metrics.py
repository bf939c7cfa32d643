"""The metrics of one process of Airflow's API server, on a listener of their own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable

from compat_auth.errors import AddressTaken
from compat_auth.gateway.telemetry.scrape import ProcessNumbers, Surroundings
from compat_auth.gateway.telemetry.worker_metrics import WorkerMetrics
from compat_auth.telemetry.shared import SharedNumbers

logger = logging.getLogger("compat_auth.metrics")


class PluginMetrics:
    """Begins and ends with the process; see `compat_auth.airflow.middleware.Lasting`.

    Args:
        process: The numbers of this process.
        surroundings: Values about what it uses.
        bind: Returns the listener.
    """

    def __init__(self, process: ProcessNumbers, surroundings: Surroundings, bind: Callable[[], socket.socket]) -> None:
        self._process = process
        self._surroundings = surroundings
        self._bind = bind
        self._metrics: WorkerMetrics | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Listen, unless another process does; called on the event loop.

        Raises:
            ConfigError: The address is none of this machine's.
        """
        try:
            listener = self._bind()
        except AddressTaken as error:
            # The API server must start: its other workers ask for the same address.
            logger.warning(
                "%s; this process has no metrics: if another worker has them, run the API server with one", error
            )
            return
        numbers = SharedNumbers(1)
        self._metrics = WorkerMetrics(self._process, self._surroundings, numbers, 0, lambda: {"serving": 1})
        self._loop = asyncio.get_running_loop()
        self._opening = self._loop.create_task(self._metrics.open(listener))

    def close(self) -> None:
        """Listen no more; on any thread."""
        loop, metrics = self._loop, self._metrics
        if loop is not None and metrics is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(metrics.close)

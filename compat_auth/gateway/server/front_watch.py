"""Watches the front proxy, and stops it before the workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from compat_auth.gateway.server.front_process import EX_UNAVAILABLE, FrontProcess
from compat_auth.gateway.server.worker import GRACE_S
from compat_auth.gateway.server.worker_states import Stop, WorkerStates

logger = logging.getLogger("compat_auth.server")

_LAST_ANSWERS_S = 6.0
FRONT_END_S = GRACE_S + _LAST_ANSWERS_S
"""How long the front proxy may take to end, in seconds: until then the workers accept its connections."""


def watch_front(front: FrontProcess, states: WorkerStates) -> int:
    """Return 0 while the front proxy lives; stop the replica once it has ended, and return the exit status.

    It is not started again: what starts the gateway starts both in a known state, and a front proxy that cannot work
    would end again and again. Workers of the front proxy that end are replaced by itself.
    """
    if front.lives:
        front.refresh()
        return 0
    logger.error("%s has ended, so this gateway ends, too; its own lines above may say why", front.name)
    states.stop = Stop.SOON
    return EX_UNAVAILABLE


def end_front(front: FrontProcess, states: WorkerStates, wait: Callable[[], None], *, drain_s: float) -> None:
    """End the front proxy; meanwhile the workers answer the requests that it still sends.

    Args:
        front: The front proxy.
        states: The states of the workers; how quickly they stop decides how long its requests may take.
        wait: Waits for a moment, and obeys signals.
        drain_s: How long it still accepts connections.
    """
    began = time.monotonic()
    while front.lives and states.stop is Stop.DRAINED and time.monotonic() - began < drain_s:
        wait()
    front.quit()
    began = time.monotonic()
    while front.lives and states.stop is not Stop.NOW and time.monotonic() - began < GRACE_S:
        wait()
    if front.lives:
        # The workers answer 503 to what is left, and the front proxy passes that on.
        states.stop = Stop.NOW
        began = time.monotonic()
        while front.lives and time.monotonic() - began < _LAST_ANSWERS_S:
            wait()
    front.end()
    states.stop = max(states.stop, Stop.SOON)

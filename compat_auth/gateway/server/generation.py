"""The workers of one configuration: they are forked, replaced when one exits or hangs, and ended."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from compat_auth.gateway.server.worker import GRACE_S, RETIRE_S
from compat_auth.gateway.server.worker_states import MAX_SILENCE_S, Phase, Stop, WorkerStates
from compat_auth.gateway.service.forking import fork, send

logger = logging.getLogger("compat_auth.server")

LAST_ANSWERS_S = 6.0
"""Seconds after the end of the time for requests in which a worker must have ended."""
# Without a pause, a worker that exits at once would be forked again without end.
_RESPAWN_PAUSE_S = 1.0
# A hung worker writes the traces of all its threads within this time, if it can write them at all.
TRACE_S = 1.0
# Workers that have not served yet have nothing to finish.
_ABORT_S = 2.0
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Plan:
    """The work of one configuration's workers.

    Attributes:
        run_worker: Serves as the worker with this number and place, and returns the exit status.
        states: The states of the workers, in shared memory.
        drain_s: How long clients' connections are still accepted after a request to stop.
        leave: Called in the parent with the place of a worker that has ended for good.
    """

    run_worker: Callable[[int, int], int]
    states: WorkerStates
    drain_s: float
    leave: Callable[[int], None] = lambda _: None


class Generation:
    """The workers.

    Args:
        plan: What they do.
        places: One number for each worker; no worker that lives has the same.
        prepare: Called first in each worker, with the states.

    Attributes:
        states: Those of the plan.
        drain_s: That of the plan; a signal may shorten it.
        children: The worker of each process that lives.
        ends_at: When what is left of its requests ends, by the monotonic clock; infinite while it serves.
        has_served: Whether all workers have served at the same time.
        failed: Exit status of a worker that ended before it could serve; 0 while there is none.
    """

    def __init__(self, plan: Plan, places: list[int], prepare: Callable[[WorkerStates], None]) -> None:
        self.states = plan.states
        self.drain_s = plan.drain_s
        self.places = places
        self.children: dict[int, int] = {}
        self.ends_at = _NEVER
        self.retired_at = _NEVER
        self.has_served = False
        self.failed = 0
        self._plan = plan
        self._prepare = prepare
        self._ending: dict[int, float] = {}
        self._fork_at = dict.fromkeys(range(plan.states.workers), 0.0)

    def fork_missing(self) -> bool:
        """Fork each worker that is missing, after its pause, and return whether that went well; if not, there is a pause again."""
        for worker, at in list(self._fork_at.items()):
            if time.monotonic() < at or self.states.stop is not Stop.NOT:
                continue
            self.states.beat(worker, Phase.STARTING)
            try:
                child = fork(lambda worker=worker: self._work(worker))  # type: ignore[misc]
            except OSError as exc:
                logger.error(  # noqa: TRY400  # a traceback adds nothing
                    "worker %d cannot be started: %s; raise the limit (systemd: TasksMax)", worker, exc.strerror
                )
                self._fork_at[worker] = time.monotonic() + _RESPAWN_PAUSE_S
                return False
            del self._fork_at[worker]
            self.children[child] = worker
        return True

    def has_reached(self, phase: Phase) -> bool:
        """Return whether every worker is in this phase."""
        return all(self.states.phase(worker) is phase for worker in range(self.states.workers))

    def has_left_listeners(self) -> bool:
        """Return whether no worker accepts connections any more."""
        return all(self.states.phase(worker) is Phase.CLOSED for worker in self.children.values())

    @property
    def answers(self) -> bool:
        """Whether at least one worker responds."""
        return len(self.states.hung()) < self.states.workers

    def reap(self, *, replaces: bool) -> None:
        """Note the workers that have exited.

        Args:
            replaces: Whether another one is forked for each.
        """
        for child, worker in list(self.children.items()):
            # Only the workers: the front proxy's process group is signalled before its leader is waited for.
            ended, status = os.waitpid(child, os.WNOHANG)
            if not ended:
                continue
            del self.children[child]
            self._ending.pop(child, None)
            code = os.waitstatus_to_exitcode(status)
            if not self.has_served and (self.states.is_held or (code and self.states.phase(worker) is Phase.STARTING)):
                self.failed = code or 1
            elif replaces and self.states.stop is Stop.NOT:
                logger.error("worker %d exited with status %d; starting another", child, code)
                self.states.beat(worker, Phase.STARTING)
                self._fork_at[worker] = time.monotonic() + _RESPAWN_PAUSE_S

    def excuse_silence(self) -> None:
        """Forgive the workers that they were silent, because the whole replica was suspended."""
        for worker in self.children.values():
            self.states.beat(worker, self.states.phase(worker))

    def end_hung(self) -> None:
        """End each worker that hangs."""
        for child, worker in self.children.items():
            silent_s = self.states.silent_for(worker)
            if child in self._ending:
                if time.monotonic() > self._ending[child]:
                    send(child, signal.SIGKILL)
            elif silent_s > self.states.silence_s and self.states.phase(worker) is not Phase.STARTING:
                then = "stopping it" if self.states.is_replaced else "stopping it and starting another"
                logger.error("worker %d has not responded for %.0f s: %s", child, silent_s, then)
                # It writes the traces of its threads, if it still can.
                send(child, signal.SIGQUIT)
                self._ending[child] = time.monotonic() + TRACE_S

    def retire(self) -> None:
        """Let the workers finish what they have: others accept the connections from now on."""
        self.states.is_replaced = True
        self.retired_at = time.monotonic()
        self.ends_at = self.retired_at + RETIRE_S

    def give_up(self) -> None:
        """End the workers, which have not served yet."""
        self.states.stop = Stop.NOW
        self.retired_at = time.monotonic()
        self.ends_at = self.retired_at + _ABORT_S - LAST_ANSWERS_S
        for child in self.children:
            send(child, signal.SIGTERM)

    def is_over(self) -> bool:
        """Return whether all workers of a generation that was retired have ended; end those whose time is over."""
        self.reap(replaces=False)
        self.end_hung()
        late_s = time.monotonic() - self.ends_at
        if late_s > 0 and self.states.stop is not Stop.NOW:
            self.states.stop = Stop.NOW
        if late_s > LAST_ANSWERS_S:
            for child in self.children:
                send(child, signal.SIGKILL)
        return not self.children

    def leave(self) -> None:
        """Free the places of the workers."""
        for place in self.places:
            self._plan.leave(place)

    def end_late(self, *, lasts_s: float) -> None:
        """Kill the workers that take longer to stop than they may.

        Args:
            lasts_s: Seconds since the stop began.
        """
        drain_s = self.drain_s if self.states.stop is Stop.DRAINED else 0.0
        limit_s = drain_s + GRACE_S if self.states.stop is not Stop.NOW else 0.0
        silence_s = min(self.states.silence_s, MAX_SILENCE_S)
        for child, worker in self.children.items():
            if lasts_s > limit_s + LAST_ANSWERS_S or self.states.silent_for(worker) > silence_s:
                send(child, signal.SIGKILL)

    def _work(self, worker: int) -> int:
        self._prepare(self.states)
        return self._plan.run_worker(worker, self.places[worker])

"""Replaces the workers by those of another configuration: all of them at once, or none.

First a process of its own tries the configuration. Then the parent builds it and forks the new workers, which wait until
all of them could serve. Only then they accept connections, and the workers before accept none, finish what they have, and
end. Whatever fails on the way, the workers before go on.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from compat_auth.gateway.server.generation import Generation, Plan
from compat_auth.gateway.server.systemd_notify import SystemdNotifier
from compat_auth.gateway.server.worker import GRACE_S
from compat_auth.gateway.server.worker_states import Phase, WorkerStates
from compat_auth.gateway.service.file_watch import FileWatch
from compat_auth.gateway.service.reload_status import ReloadStatus
from compat_auth.gateway.service.trial import Trial, problem_of

logger = logging.getLogger("compat_auth.server")

PLACES = 256
"""So many workers can live: those that serve, those that are about to, and those of two configurations before."""
_START_S = 60.0
# A worker that hangs must not keep the others waiting.
_LEAVE_S = 1.0
_MOST_RETIRED = 2


@dataclass(frozen=True, slots=True)
class Built:
    """Another configuration, built.

    Attributes:
        plan: What its workers do.
        watch: The files that it is made of; None: nobody watches them.
        take_over: Called before its workers accept connections; may raise, and then nothing has happened.
    """

    plan: Plan
    watch: FileWatch | None
    take_over: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Reload:
    """Makes the plan for another configuration.

    Attributes:
        check: Raises where the configuration must not be used; called in a process of its own.
        build: Builds it. Raises CompatAuthError where it cannot be used.
        restore: Sets again what all configurations share, as the one that serves wants it.
        status: How the reloads went.
        watch: The files of the first configuration; None: nobody watches them.
    """

    check: Callable[[], None]
    build: Callable[[], Built]
    restore: Callable[[], None]
    status: ReloadStatus
    watch: FileWatch | None = None


class Reloading:
    """All workers of a replica, by configuration.

    Args:
        plan: What the first workers do.
        reload: Makes the plan for another configuration.
        prepare_trial: Called first in the process of a trial.
        prepare_worker: Called first in each worker.

    Attributes:
        notifier: Tells the service manager.
        serving: The workers that accept connections.
        retired: Workers of earlier configurations, which finish what they have; the oldest first.
    """

    def __init__(
        self,
        plan: Plan,
        reload: Reload,
        prepare_trial: Callable[[], None],
        prepare_worker: Callable[[WorkerStates], None],
    ) -> None:
        self.notifier = SystemdNotifier.from_environment()
        self.retired: list[Generation] = []
        self._reload = reload
        self._watch = reload.watch
        self._prepare_trial = prepare_trial
        self._prepare_worker = prepare_worker
        self._trial: Trial | None = None
        self._next: tuple[Generation, Built, float] | None = None
        self._leaving: tuple[Generation, float] | None = None
        self._is_asked = self._has_waited = False
        self._asked_at = 0.0
        self.serving = Generation(plan, list(range(plan.states.workers)), prepare_worker)

    @property
    def is_busy(self) -> bool:
        """Whether something is under way that will not wait long."""
        return self._is_asked or self._is_under_way

    @property
    def _is_under_way(self) -> bool:
        return self._trial is not None or self._next is not None or self._leaving is not None

    def ask(self) -> None:
        """Reload as soon as it can be; several requests before it begins count as one."""
        self._is_asked = True

    def advance(self) -> None:
        """Do the next step of a reload, if it is time."""
        self.end_retired()
        if self._watch is not None and self._watch.has_changed():
            logger.info("the configuration's files have changed")
            self.ask()
        if self._leaving is not None:
            self._release(*self._leaving)
        elif self._trial is not None:
            outcome = self._trial.outcome()
            if outcome is not None:
                self._trial = None
                self._fail(outcome) if outcome else self._build()
        elif self._next is not None:
            self._look_at_next(*self._next)
        elif self._is_asked and self.serving.has_served and self._has_room():
            self._begin()

    def end_retired(self) -> None:
        """End workers of earlier configurations whose time is over, and forget those that have ended."""
        over = [generation for generation in self.retired if generation.is_over()]
        for generation in over:
            self.retired.remove(generation)
            generation.leave()

    def shorten(self, within_s: float) -> None:
        """Let what is left of earlier configurations end within this many seconds."""
        for generation in self.retired:
            generation.ends_at = min(generation.ends_at, time.monotonic() + within_s)

    def stop(self) -> None:
        """Give up a reload that is under way: the replica stops."""
        if self._trial is not None:
            self._trial.end()
            self._trial = None
        if self._next is not None:
            self._give_up(self._next[0])
        if self._leaving is not None:
            self._release(self._leaving[0], 0)

    def forget(self) -> None:
        """In a process that was forked, close what is the parent's."""
        if self._trial is not None:
            self._trial.forget()

    def excuse_silence(self) -> None:
        """Forgive all workers that they were silent, because the whole replica was suspended."""
        for generation in (self.serving, *self.retired, *([self._next[0]] if self._next is not None else [])):
            generation.excuse_silence()

    def _has_room(self) -> bool:
        if len(self.retired) < _MOST_RETIRED:
            self._has_waited = False
            return True
        oldest = self.retired[0]
        if not self._has_waited:
            self._has_waited = True
            logger.info("the reload waits for requests that began two configurations ago")
        # As long as they have when a replica stops; a removed credential must not serve for longer because of them.
        if time.monotonic() > oldest.retired_at + GRACE_S:
            oldest.ends_at = min(oldest.ends_at, time.monotonic())
        return False

    def _begin(self) -> None:
        self._is_asked = False
        self._asked_at = time.monotonic()
        # systemd.service(5), Type=notify-reload: the time that it compares with its own.
        self.notifier.send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self._trial = Trial(self._reload.check, self._prepare_trial)
        except OSError as error:
            self._fail(f"no process can be started to check it: {error.strerror}")

    def _build(self) -> None:
        # What the configuration before leaves behind must not be kept for ever.
        gc.unfreeze()
        try:
            built = self._reload.build()
        except Exception as error:  # noqa: BLE001  # whatever is wrong with it, the configuration before goes on
            self._reload.restore()
            self._fail(problem_of(error))
            return
        finally:
            gc.collect()
            gc.freeze()
        built.plan.states.is_held = True
        generation = Generation(built.plan, self._free_places(built.plan.states.workers), self._prepare_worker)
        all_forked = generation.fork_missing()
        # A worker of the configuration before may have to be started again until the new one serves.
        self._reload.restore()
        if all_forked:
            self._next = generation, built, time.monotonic() + _START_S
        else:
            self._give_up(generation)
            self._fail("not every new worker can be started; the line above says why")

    def _free_places(self, count: int) -> list[int]:
        taken = {place for generation in (self.serving, *self.retired) for place in generation.places}
        return [place for place in range(PLACES) if place not in taken][:count]

    def _look_at_next(self, generation: Generation, built: Built, ends_at: float) -> None:
        generation.reap(replaces=False)
        if generation.failed:
            problem = (
                f"a new worker ended with status {generation.failed} before it could serve; its lines above say why"
            )
        elif generation.has_reached(Phase.PREPARED):
            try:
                built.take_over()
            except Exception as error:  # noqa: BLE001  # as in `_build`
                problem = problem_of(error)
            else:
                self._reload.restore()
                self._switch(generation, built)
                return
        elif time.monotonic() > ends_at:
            problem = f"the new workers were not ready within {_START_S:g} s"
        else:
            return
        self._give_up(generation)
        self._fail(problem)

    def _switch(self, generation: Generation, built: Built) -> None:
        """Let the workers before accept nothing more; what comes meanwhile waits in the kernel for the new ones."""
        self._next = None
        before, self.serving = self.serving, generation
        before.retire()
        self.retired.append(before)
        generation.has_served = True
        self._watch = built.watch
        self._leaving = before, time.monotonic() + _LEAVE_S

    def _release(self, before: Generation, ends_at: float) -> None:
        """Let the new workers accept connections once those before accept none: nobody gets a newer and then an older answer."""
        if not before.has_left_listeners() and time.monotonic() < ends_at:
            return
        self._leaving = None
        self.serving.states.is_held = False
        self._reload.status.succeed()
        number, workers = self._reload.status.read().generation, self.serving.states.workers
        logger.info(
            "configuration %d serves after %.1f s, with %d worker(s)",
            number,
            time.monotonic() - self._asked_at,
            workers,
        )
        self.notifier.send(f"READY=1\nSTATUS={workers} workers, configuration {number}")

    def _give_up(self, generation: Generation) -> None:
        self._next = None
        generation.give_up()
        self.retired.append(generation)

    def _fail(self, problem: str) -> None:
        self._reload.status.fail()
        number = self._reload.status.read().generation
        logger.error(
            "the configuration is not reloaded, and configuration %d goes on: %s; correct it, run compat-auth check, and send"
            " SIGHUP again", number, problem,
        )  # fmt: skip
        self.notifier.send(f"READY=1\nSTATUS=configuration {number}; the last reload failed")

"""The parent of the workers: it forks them, replaces one that exits or hangs, and stops them all.

Only the parent interprets signals; it tells the workers through shared memory. A service manager or a terminal sends
its signal to the workers too, and they must not count it a second time.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from compat_auth.gateway.server.front_process import FrontProcess
from compat_auth.gateway.server.front_watch import end_front, watch_front
from compat_auth.gateway.server.systemd_notify import SystemdNotifier
from compat_auth.gateway.server.worker import GRACE_S, HANDSHAKE_S, UNUSED_SIGNALS
from compat_auth.gateway.server.worker_states import MAX_SILENCE_S, Phase, Stop, WorkerStates

logger = logging.getLogger("compat_auth.server")

_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, *UNUSED_SIGNALS)
_LOOK_S = 0.5
# Without a pause, a worker that exits at once would be forked again without end.
_RESPAWN_PAUSE_S = 1.0
# A hung worker writes the traces of all its threads within this time, if it can write them at all.
_TRACE_S = 1.0
_LAST_ANSWERS_S = 6.0


class Supervisor:
    """The parent.

    Args:
        run_worker: Serves as the worker with this number, and returns the exit status.
        listeners: Shared by all workers.
        states: The states of the workers, in shared memory.
        drain_s: How long clients' connections are still accepted after a request to stop.
        front: The front proxy, which takes the clients' connections; None: the workers do.
        reloads: Whether the workers have files that they can replace while they serve.
    """

    def __init__(
        self,
        run_worker: Callable[[int], int],
        listeners: list[socket.socket],
        states: WorkerStates,
        *,
        drain_s: float,
        front: FrontProcess | None = None,
        reloads: bool = False,
    ) -> None:
        self._front = front
        self._reloads = reloads
        self._run_worker = run_worker
        self._listeners = listeners
        self._states = states
        self._drain_s = drain_s
        self._notifier = SystemdNotifier.from_environment()
        self._children: dict[int, int] = {}
        self._ending: dict[int, float] = {}
        self._fork_at = dict.fromkeys(range(states.workers), 0.0)
        self._caught: list[int] = []
        self._has_served = False
        self._status = 0
        # Nobody ever writes to it: reading ends when the last writer, the parent, is gone.
        self._parent_gone, self._parent_lives = os.pipe()
        self._wakes, self._wake = os.pipe()

    def run(self) -> int:
        """Serve until a signal asks to stop, and return the exit status."""
        gc.collect()
        # All workers share the memory that exists now: the garbage collector must not touch, and so copy, its pages.
        gc.freeze()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wakes, False)
        for number in _HANDLED:
            signal.signal(number, self._catch)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        looked_at = watched_at = time.monotonic()
        while self._states.stop is Stop.NOT:
            self._fork_missing()
            self._wait()
            if time.monotonic() - looked_at > 4 * _LOOK_S:
                # The whole replica was suspended for a while: its workers could not report.
                self._excuse_silence()
            looked_at = time.monotonic()
            self._replace_hung()
            if self._front is not None and self._states.stop is Stop.NOT:
                self._status = watch_front(self._front, self._states)
            self._say_ready()
            every_s = self._notifier.watchdog_every_s
            if every_s is not None and looked_at - watched_at >= min(every_s, _LOOK_S):
                self._notifier.send("WATCHDOG=1")
                watched_at = looked_at
        self._notifier.send("STOPPING=1")
        if self._front is not None:
            end_front(self._front, self._states, self._wait, drain_s=self._drain_s)
        self._end_all()
        return self._status

    def _catch(self, number: int, _frame: FrameType | None) -> None:
        self._caught.append(number)

    def _wait(self) -> None:
        """Wait for a signal or the next check; then obey signals, and reap workers that have exited."""
        front = [self._front.ends] if self._front is not None and self._front.lives else []
        with contextlib.suppress(InterruptedError):
            select.select([self._wakes, *front], [], [], _LOOK_S)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakes, 4096)
        while self._caught:
            number = self._caught.pop(0)
            if number == signal.SIGHUP and (self._reloads or self._front is not None):
                self._reload()
            elif number in UNUSED_SIGNALS:
                logger.info("%s ignored", signal.Signals(number).name)
            elif number != signal.SIGCHLD:
                self._stop(number)
        self._reap()

    def _stop(self, number: int) -> None:
        level = self._states.stop
        if level is Stop.NOT:
            # Nobody sends new requests to a program at a terminal.
            level = Stop.SOON if number == signal.SIGINT else Stop.DRAINED
            if self._front is not None and level is Stop.SOON:
                # The workers go on until the front proxy has ended.
                level, self._drain_s = Stop.DRAINED, 0.0
            logger.info("stopping; the next signal ends pending requests")
        else:
            level = Stop.NOW
        self._states.stop = level

    def _reload(self) -> None:
        self._states.ask_reload()
        if self._front is not None:
            self._front.reload()

    def _fork_missing(self) -> None:
        for worker, at in list(self._fork_at.items()):
            if time.monotonic() >= at and self._states.stop is Stop.NOT:
                del self._fork_at[worker]
                self._fork(worker)

    def _fork(self, worker: int) -> None:
        self._states.beat(worker, Phase.STARTING)
        # A signal between the fork and the child's own handlers would run the parent's handlers.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        child = os.fork()
        if child:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            self._children[child] = worker
            return
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _HANDLED:
                signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else _wait_for_the_loop)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for end in (self._parent_lives, self._wakes, self._wake):
                os.close(end)
            if self._front is not None:
                self._front.forget()
            # The default action would write a core dump, with every secret in it.
            faulthandler.register(signal.SIGQUIT, all_threads=True, chain=False)
            threading.Thread(target=self._end_with_parent, daemon=True).start()
            status = self._run_worker(worker)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            # A worker that waits for the thread of a stuck backend would never exit.
            os._exit(status)

    def _end_with_parent(self) -> None:
        os.read(self._parent_gone, 1)
        if self._front is not None:
            # It has ended, too, so no connection is to be expected.
            self._states.stop = max(self._states.stop, Stop.SOON)
        # A killed parent must not leave workers behind that hold the port.
        os.kill(os.getpid(), signal.SIGTERM)

    def _reap(self) -> None:
        for child, worker in list(self._children.items()):
            # Only the workers: the front proxy's process group is signalled before its leader is waited for.
            ended, status = os.waitpid(child, os.WNOHANG)
            if not ended:
                continue
            del self._children[child]
            self._ending.pop(child, None)
            if self._states.stop is not Stop.NOT:
                continue
            code = os.waitstatus_to_exitcode(status)
            if not self._has_served and self._states.phase(worker) is Phase.STARTING and code:
                logger.error("a worker exited with status %d before it could serve", code)
                self._status = 1
                self._states.stop = Stop.SOON
                return
            logger.error("worker %d exited with status %d; starting another", child, code)
            self._states.beat(worker, Phase.STARTING)
            self._fork_at[worker] = time.monotonic() + _RESPAWN_PAUSE_S

    def _excuse_silence(self) -> None:
        for worker in self._children.values():
            self._states.beat(worker, self._states.phase(worker))

    def _replace_hung(self) -> None:
        for child, worker in self._children.items():
            silent_s = self._states.silent_for(worker)
            if child in self._ending:
                if time.monotonic() > self._ending[child]:
                    _signal(child, signal.SIGKILL)
            elif silent_s > self._states.silence_s and self._states.phase(worker) is not Phase.STARTING:
                logger.error(
                    "worker %d has not responded for %.0f s: stopping it and starting another", child, silent_s
                )
                # It writes the traces of its threads, if it still can.
                _signal(child, signal.SIGQUIT)
                self._ending[child] = time.monotonic() + _TRACE_S

    def _say_ready(self) -> None:
        phases = [self._states.phase(worker) for worker in range(self._states.workers)]
        is_open = self._front is None or self._front.is_ready
        if not self._has_served and Phase.STARTING not in phases and is_open:
            self._has_served = True
            self._notifier.send(f"READY=1\nSTATUS={len(phases)} workers")

    def _end_all(self) -> None:
        for child in self._children:
            _signal(child, signal.SIGTERM)
        began = time.monotonic()
        drain_s = self._drain_s if self._states.stop is Stop.DRAINED else 0.0
        is_open = True
        while self._children:
            self._wait()
            lasts_s = time.monotonic() - began
            phases = [self._states.phase(worker) for worker in self._children.values()]
            if is_open and (set(phases) <= {Phase.CLOSED} or lasts_s > drain_s + HANDSHAKE_S + _TRACE_S):
                self._close_listeners()
                is_open = False
            limit_s = drain_s + GRACE_S if self._states.stop is not Stop.NOW else 0.0
            silence_s = min(self._states.silence_s, MAX_SILENCE_S)
            for child, worker in self._children.items():
                if lasts_s > limit_s + _LAST_ANSWERS_S or self._states.silent_for(worker) > silence_s:
                    _signal(child, signal.SIGKILL)
        if is_open:
            self._close_listeners()

    def _close_listeners(self) -> None:
        """Close them in all processes that still have them open: a hung worker must not keep clients waiting."""
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def _wait_for_the_loop(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the worker reads the shared memory once its event loop runs."""


def _signal(child: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)

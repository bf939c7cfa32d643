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
import threading
import time
from types import FrameType

from compat_auth.gateway.server.front_process import FrontProcess, end_front, watch_front
from compat_auth.gateway.server.generation import TRACE_S, Generation, Plan
from compat_auth.gateway.server.reloading import Reload, Reloading
from compat_auth.gateway.server.worker import GRACE_S, HANDSHAKE_S
from compat_auth.gateway.server.worker_states import Phase, Stop, WorkerStates
from compat_auth.gateway.service.forking import HANDLED, UNUSED_SIGNALS, send

logger = logging.getLogger("compat_auth.server")

_LOOK_S = 0.5
_RELOADING_LOOK_S = 0.05


class Supervisor:
    """The parent.

    Args:
        plan: What the workers do.
        listeners: Shared by all workers.
        reload: Makes the plan for another configuration.
        front: The front proxy, which takes the clients' connections; None: the workers do.
        kept: File descriptors of listeners that outlive the replica, because a service manager has opened them.
    """

    def __init__(
        self,
        plan: Plan,
        listeners: list[socket.socket],
        reload: Reload,
        *,
        front: FrontProcess | None = None,
        kept: frozenset[int] = frozenset(),
    ) -> None:
        self._front = front
        self._listeners = listeners
        self._kept = kept
        self._reloading = Reloading(plan, reload, self._prepare_child, self._prepare_worker)
        self._notifier = self._reloading.notifier
        self._stopped_at = 0.0
        self._caught: list[int] = []
        self._status = 0
        # Nobody ever writes to it: reading ends when the last writer, the parent, is gone.
        self._parent_gone, self._parent_lives = os.pipe()
        self._wakes, self._wake = os.pipe()

    @property
    def _serving(self) -> Generation:
        return self._reloading.serving

    @property
    def _stop_level(self) -> Stop:
        return self._serving.states.stop

    def run(self) -> int:
        """Serve until a signal asks to stop, and return the exit status."""
        gc.collect()
        # All workers share the memory that exists now: the garbage collector must not touch, and so copy, its pages.
        gc.freeze()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wakes, False)
        for number in HANDLED:
            signal.signal(number, self._catch)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        looked_at = watched_at = time.monotonic()
        while self._stop_level is Stop.NOT:
            self._serving.fork_missing()
            self._wait()
            if time.monotonic() - looked_at > 4 * _LOOK_S:
                # The whole replica was suspended for a while: its workers could not report.
                self._reloading.excuse_silence()
            looked_at = time.monotonic()
            self._serving.end_hung()
            self._look_at_start()
            if self._front is not None and self._stop_level is Stop.NOT:
                self._status = watch_front(self._front, self._serving.states)
            if self._stop_level is Stop.NOT:
                self._reloading.advance()
            every_s = self._notifier.watchdog_every_s
            # systemd starts the service again where no worker has responded for longer than its timeout.
            is_due = every_s is not None and looked_at - watched_at >= min(every_s, _LOOK_S)
            if is_due and self._serving.answers:
                self._notifier.send("WATCHDOG=1")
                watched_at = looked_at
        self._notifier.send("STOPPING=1")
        self._reloading.stop()
        if self._front is not None:
            end_front(self._front, self._serving.states, self._wait, drain_s=self._serving.drain_s)
        self._end_all()
        return self._status

    def _catch(self, number: int, _frame: FrameType | None) -> None:
        self._caught.append(number)

    def _wait(self) -> None:
        """Wait for a signal or the next check; then obey signals, and reap workers that have exited."""
        front = [self._front.ends] if self._front is not None and self._front.lives else []
        look_s = _RELOADING_LOOK_S if self._reloading.is_busy else _LOOK_S
        with contextlib.suppress(InterruptedError):
            select.select([self._wakes, *front], [], [], look_s)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakes, 4096)
        while self._caught:
            number = self._caught.pop(0)
            if number == signal.SIGHUP:
                self._reload()
            elif number in UNUSED_SIGNALS:
                logger.info("%s ignored", signal.Signals(number).name)
            elif number != signal.SIGCHLD:
                self._stop(number)
        self._serving.reap(replaces=True)

    def _stop(self, number: int) -> None:
        # Before the workers hear of it: those that wait for their turn must accept what the ones before leave.
        self._reloading.stop()
        level, serving = self._stop_level, self._serving
        if level is Stop.NOT:
            # Nobody sends new requests to a program at a terminal.
            level = Stop.SOON if number == signal.SIGINT else Stop.DRAINED
            if self._front is not None and level is Stop.SOON:
                # The workers go on until the front proxy has ended.
                level, serving.drain_s = Stop.DRAINED, 0.0
            logger.info("stopping; the next signal ends pending requests")
        else:
            level = Stop.NOW
        serving.states.stop = level

    def _reload(self) -> None:
        if self._stop_level is not Stop.NOT:
            logger.info("SIGHUP ignored: the replica is stopping")
            return
        # A new certificate serves at once, whatever becomes of the rest.
        self._serving.states.ask_reload()
        if self._front is not None:
            self._front.reload_certificate()
        self._reloading.ask()

    def _look_at_start(self) -> None:
        """Note that the first workers serve, or could not."""
        serving = self._serving
        if serving.has_served:
            return
        if serving.failed:
            logger.error("a worker exited with status %d before it could serve", serving.failed)
            self._status, serving.states.stop = 1, Stop.SOON
        elif serving.has_reached(Phase.SERVING) and (self._front is None or self._front.is_ready):
            serving.has_served = True
            self._notifier.send(f"READY=1\nSTATUS={serving.states.workers} workers")

    def _prepare_child(self) -> None:
        """Close what a forked process must not have."""
        for end in (self._parent_lives, self._wakes, self._wake):
            os.close(end)
        if self._front is not None:
            self._front.forget()
        self._reloading.forget()

    def _prepare_worker(self, states: WorkerStates) -> None:
        self._prepare_child()
        # The default action would write a core dump, with every secret in it.
        faulthandler.register(signal.SIGQUIT, all_threads=True, chain=False)
        threading.Thread(target=self._end_with_parent, args=(states,), daemon=True).start()

    def _end_with_parent(self, states: WorkerStates) -> None:
        os.read(self._parent_gone, 1)
        # A front proxy has ended, too, so no connection is to be expected. A worker that waits for its turn obeys no signal.
        states.stop = max(states.stop, Stop.SOON if self._front is not None else Stop.DRAINED)
        # A killed parent must not leave workers behind that hold the port.
        os.kill(os.getpid(), signal.SIGTERM)

    def _end_all(self) -> None:
        serving = self._serving
        for child in serving.children:
            send(child, signal.SIGTERM)
        began = time.monotonic()
        drain_s = serving.drain_s if self._stop_level is Stop.DRAINED else 0.0
        self._reloading.shorten(drain_s + GRACE_S)
        is_open = True
        while serving.children or self._reloading.retired:
            self._wait()
            if self._stop_level is Stop.NOW:
                self._reloading.shorten(0)
            self._reloading.end_retired()
            lasts_s = time.monotonic() - began
            phases = [serving.states.phase(worker) for worker in serving.children.values()]
            if is_open and (set(phases) <= {Phase.CLOSED} or lasts_s > drain_s + HANDSHAKE_S + TRACE_S):
                self._close_listeners()
                is_open = False
            serving.end_late(lasts_s=lasts_s)
        if is_open:
            self._close_listeners()

    def _close_listeners(self) -> None:
        """Close them in all processes that still have them open: a hung worker must not keep clients waiting."""
        for listener in self._listeners:
            if listener.fileno() not in self._kept:
                with contextlib.suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
            listener.close()

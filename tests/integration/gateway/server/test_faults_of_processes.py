"""What a replica does when no process can be started, when one of its own ends oddly, and with listeners that outlive it."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compat_auth.cli.serving.listeners import open_listeners
from compat_auth.config import Settings
from compat_auth.errors import ConfigError
from compat_auth.gateway.server import generation
from compat_auth.gateway.server.generation import Generation, Plan
from compat_auth.gateway.server.reloading import Built, Reload, Reloading
from compat_auth.gateway.server.server import Served, bind_socket, serve_workers
from compat_auth.gateway.server.supervisor import Supervisor
from compat_auth.gateway.server.worker_states import Stop, WorkerStates
from compat_auth.gateway.service import trial
from compat_auth.gateway.service.forking import HANDLED, fork
from compat_auth.gateway.service.reload_status import ReloadStatus
from compat_auth.gateway.service.socket_activation import PassedSockets
from compat_auth.gateway.service.trial import Trial


def plan(workers: int = 2) -> Plan:
    return Plan(lambda _worker, _place: 0, WorkerStates(workers, silence_s=60), drain_s=0)


def reload(build: Callable[[], Built] | None = None, restored: list[str] | None = None) -> Reload:
    def restore() -> None:
        if restored is not None:
            restored.append("restored")

    def never() -> Built:
        pytest.fail("built")

    return Reload(lambda: None, build or never, restore, ReloadStatus())


def refuse_to_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refuse)


def test_a_fork_that_fails_leaves_every_signal_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_fork(monkeypatch)

    with pytest.raises(BlockingIOError):
        fork(lambda: 0)

    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()).isdisjoint(HANDLED)


def test_a_trial_that_cannot_begin_leaves_no_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_fork(monkeypatch)
    before = len(list(Path("/dev/fd").iterdir()))

    with pytest.raises(BlockingIOError):
        Trial(lambda: None, lambda: None)

    assert len(list(Path("/dev/fd").iterdir())) == before


def test_a_worker_that_cannot_be_started_is_tried_again_after_a_pause(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    workers = Generation(plan(1), [0], lambda _: None)
    refuse_to_fork(monkeypatch)

    went_well = [workers.fork_missing()]
    monkeypatch.setattr(generation, "fork", lambda _run: 4711)
    went_well.append(workers.fork_missing())
    at_once = dict(workers.children)
    monkeypatch.setattr(time, "monotonic", lambda: float("inf"))
    went_well.append(workers.fork_missing())

    assert went_well == [False, True, True]
    assert (at_once, workers.children) == ({}, {4711: 0})
    assert "worker 0 cannot be started" in caplog.text


def test_a_reload_for_which_no_process_can_be_started_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = reload()
    reloading = Reloading(plan(), asked, lambda: None, lambda _: None)
    reloading.serving.has_served = True
    serving = reloading.serving
    refuse_to_fork(monkeypatch)

    reloading.ask()
    reloading.advance()

    assert reloading.serving is serving
    assert not reloading.is_busy
    assert asked.status.read().has_failed


def test_new_workers_that_cannot_all_be_started_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    restored: list[str] = []
    new = plan()
    reloading = Reloading(
        plan(), reload(lambda: Built(new, None, lambda: None), restored), lambda: None, lambda _: None
    )
    serving = reloading.serving
    refuse_to_fork(monkeypatch)

    reloading._build()

    assert reloading.serving is serving
    assert not reloading.is_busy
    assert new.states.stop is Stop.NOW
    assert restored


def test_a_worker_says_what_ended_it(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise RuntimeError("odd")

    child = fork(fail)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 1
    assert "RuntimeError" in capfd.readouterr().err


def test_a_worker_that_waits_for_its_turn_ends_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    signalled: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _pid, number: signalled.append(number))
    supervisor = Supervisor(plan(), [], reload())
    states = WorkerStates(1, silence_s=60)
    os.close(supervisor._parent_lives)

    supervisor._end_with_parent(states)

    assert states.stop is Stop.DRAINED
    assert signalled == [signal.SIGTERM]


def test_a_trial_whose_parent_has_gone_does_not_outlive_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    alarms: list[int] = []
    monkeypatch.setattr(signal, "alarm", alarms.append)
    before = signal.getsignal(signal.SIGALRM)
    ends, answer = os.pipe()

    status = trial._run(lambda: None, lambda: None, answer)

    signal.signal(signal.SIGALRM, before)
    logging.disable(logging.NOTSET)
    assert (status, os.read(ends, 9)) == (0, b"+")
    assert alarms == [65]
    os.close(ends)
    os.close(answer)


@pytest.fixture
def of_manager() -> Iterator[socket.socket]:
    with bind_socket("127.0.0.1:0") as made:
        yield made


def accepts(listener: socket.socket) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(listener.getsockname(), timeout=2):
        listener.settimeout(2)
        listener.accept()[0].close()
        return True
    return False


@pytest.mark.parametrize("which", ["serve", "forward_auth"])
def test_only_the_listeners_of_the_service_manager_outlive_the_replica(which: str, of_manager: socket.socket) -> None:
    settings = Settings.model_validate(
        {
            "serve": {"bind": "127.0.0.1:0"},
            "forward_auth": {"bind": "127.0.0.1:0", "secret": "s" * 32},
            "trusted_proxies": ["127.0.0.1/32"],
        }
    )
    passed = PassedSockets(**{which: (of_manager.dup(),)})
    with contextlib.ExitStack() as stack:
        listeners = open_listeners(settings, stack, passed)
        assert listeners.forward_auth is not None
        own = listeners.forward_auth[0] if which == "serve" else listeners.serve[0]
        with own.dup() as copy:
            Supervisor(plan(), listeners.of_workers, reload(), kept=listeners.passed)._close_listeners()

            assert accepts(of_manager)
            assert not accepts(copy)


def test_a_log_that_cannot_be_set_up_again_does_not_end_the_replica(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    restores: list[Callable[[], None]] = []

    def restore() -> None:
        raise ConfigError("audit.file: cannot be written")

    def run(self: Supervisor) -> int:
        restores.append(self._reloading._reload.restore)
        return 0

    monkeypatch.setattr(Supervisor, "run", run)

    async def app(_scope: object, _receive: object, _send: object) -> None:
        pytest.fail("asked")

    served = Served(app, Settings().serve, restore=restore)
    serve_workers(served, [], check=lambda: None, build=lambda: served)
    restores[0]()

    assert "audit.file: cannot be written" in caplog.text

"""`compat-auth serve` under a service manager: notifications, passed sockets, and the units for systemd."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import psutil
import pytest

from compat_auth.cli.demo.upstream import BackgroundServer
from compat_auth.gateway.server.server import bind_socket
from support.peers.front_site import ask, environment_of, write_settings
from support.peers.gateway import COMMAND, START_S
from support.peers.generated import Upstream, basic
from support.peers.process import Process, answers_http, free_port

pytestmark = pytest.mark.peer

ALICE: Final = ("Authorization", basic("alice"))
UNITS: Final = Path(__file__).parents[2] / "deploy" / "systemd"
# As systemd does: the socket is file descriptor 3, and LISTEN_PID is the process that it becomes.
LAUNCH: Final = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid());"
    " os.environ['LISTEN_FDS'] = '1'; os.execv(sys.argv[2], sys.argv[2:])"
)


def test_systemd_learns_of_a_reload_and_of_workers_that_hang(tmp_path: Path) -> None:
    port = free_port()
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        bind_socket(f"127.0.0.1:{free_port()}") as behind,
        BackgroundServer(Upstream(), behind),
    ):
        manager.settimeout(START_S)
        manager.bind(str(tmp_path / "notify"))
        serve = {"bind": f"127.0.0.1:{port}", "drain_s": 0, "worker_timeout_s": 60}
        config = write_settings(tmp_path, f"http://127.0.0.1:{behind.getsockname()[1]}", serve=serve)
        process = Process("compat-auth serve", tmp_path / "log")
        watched = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        try:
            process.start(
                [COMMAND, "serve", "--config", str(config)],
                env={**environment_of(tmp_path), **watched},
                is_ready=lambda: answers_http(f"http://127.0.0.1:{port}/compat-auth/live"),
                timeout_s=START_S,
            )
            pid = process.pid
            assert pid is not None
            started = states_until(manager, b"READY=1")
            os.kill(pid, signal.SIGHUP)
            reloaded = states_until(manager, b"READY=1")
            (worker,) = [one.pid for one in psutil.Process(pid).children() if is_newest(one)]
            os.kill(worker, signal.SIGSTOP)
            silent = is_silent(manager)
            os.kill(worker, signal.SIGCONT)
            again = states_until(manager, b"WATCHDOG=1")
        finally:
            process.stop()

    told = [one for one in reloaded if one != b"WATCHDOG=1"]
    assert started[-1].startswith(b"READY=1\n")
    assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", told[0])
    assert told[1:] == [b"READY=1\nSTATUS=1 workers, configuration 2"]
    assert silent
    assert again[-1] == b"WATCHDOG=1"


def states_until(manager: socket.socket, state: bytes) -> list[bytes]:
    found = [manager.recv(200)]
    while not found[-1].startswith(state):
        found.append(manager.recv(200))
    return found


def is_silent(manager: socket.socket) -> bool:
    """Return whether, sooner or later, no sign of life comes for three seconds."""
    manager.settimeout(3)
    try:
        for _ in range(60):
            manager.recv(200)
    except TimeoutError:
        return True
    finally:
        manager.settimeout(START_S)
    return False


def is_newest(process: psutil.Process) -> bool:
    parent = process.parent()
    return parent is not None and process.create_time() == max(one.create_time() for one in parent.children())


def test_a_passed_listener_outlives_the_service_and_what_waits_there_is_answered(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", free_port()), backlog=100) as listener,
        bind_socket(f"127.0.0.1:{free_port()}") as behind,
        BackgroundServer(Upstream(), behind),
    ):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serve = {"bind": "127.0.0.1:1", "drain_s": 0, "workers": 2}
        config = write_settings(tmp_path, f"http://127.0.0.1:{behind.getsockname()[1]}", serve=serve)
        first = start(tmp_path, config, listener, url)
        answered = ask(url, "/api/x", ALICE).status
        first.stop()
        ended = first.pid is None

        with socket.create_connection(listener.getsockname(), 5) as waiting:
            waiting.settimeout(START_S)
            waiting.sendall(b"GET /compat-auth/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            second = start(tmp_path, config, listener, url)
            kept = waiting.recv(12)
        second.stop()

    assert (answered, ended, kept) == (200, True, b"HTTP/1.1 200")
    assert "listener(s) from the service manager" in (tmp_path / "log").read_text()


def start(folder: Path, config: Path, listener: socket.socket, url: str) -> Process:
    process = Process("compat-auth serve", folder / "log")
    os.set_inheritable(listener.fileno(), True)
    number = str(listener.fileno())
    process.start(
        [sys.executable, "-c", LAUNCH, number, COMMAND, "serve", "--config", str(config)],
        env=environment_of(folder),
        is_ready=lambda: answers_http(f"{url}/compat-auth/live"),
        timeout_s=START_S,
        pass_files=[listener.fileno()],
    )
    return process


@pytest.mark.parametrize("name", ["compat-auth.service", "compat-auth.socket"])
def test_systemd_accepts_the_units(tmp_path: Path, name: str) -> None:
    program = shutil.which("systemd-analyze")
    assert program is not None, "systemd-analyze is missing: ./test installs Debian's systemd"
    for unit in UNITS.iterdir():
        # The programs are not installed where the units say.
        text = unit.read_text(encoding="utf-8").replace("/opt/compat-auth/bin/compat-auth", COMMAND)
        (tmp_path / unit.name).write_text(text, encoding="utf-8")

    done = subprocess.run(
        [program, "verify", "--man=no", str(tmp_path / name)], capture_output=True, text=True, check=False, timeout=120
    )

    assert (done.returncode, [line for line in done.stderr.splitlines() if "compat-auth" in line]) == (0, [])


def test_the_documentation_shows_the_units_as_they_are() -> None:
    page = (UNITS.parents[1] / "docs" / "how-to" / "service.md").read_text(encoding="utf-8")

    for unit in UNITS.iterdir():
        _comment, _, body = unit.read_text(encoding="utf-8").partition("\n")
        assert body in page, unit.name

"""Start a program to measure, say what it costs in CPU and memory, and end exactly what was started."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

START_S = 30
MIB = 2**20


class Missing(Exception):
    """A peer is not installed; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Program:
    """A running program.

    Attributes:
        name: For messages.
        port: Loopback port that it listens on.
        pid: Its first process; the tree below it counts as one.
    """

    name: str
    port: int
    pid: int

    def cpu_s(self) -> float:
        """Return user and system seconds spent so far by the processes that are alive, kernel ticks of 10 ms."""
        return sum(times.user + times.system for times in (process.cpu_times() for process in self.tree()))

    def pss_mib(self) -> float:
        """Return the proportional set size of the tree: shared pages count by their share."""
        return sum(process.memory_full_info().pss for process in self.tree()) / MIB

    def tree(self) -> list[psutil.Process]:
        """Return the process and its descendants."""
        first = psutil.Process(self.pid)
        return [first, *first.children(recursive=True)]


def find_program(name: str, remedy: str) -> str:
    """Return the path of a program: beside this Python, in PATH, where Debian puts daemons, or among the peers.

    Raises:
        Missing: It is nowhere.
    """
    places = [Path(sys.executable).parent, *os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/sbin"]
    places.append(peers_folder() / name / "bin")
    found = shutil.which(name, path=os.pathsep.join(map(str, places)))
    if found is None:
        raise Missing(f"{name} is not installed; {remedy}")
    return found


def peers_folder() -> Path:
    """Return the folder that `tests/support/peers/install` fills."""
    cache = os.environ.get("XDG_CACHE_HOME")
    default = (Path(cache) if cache else Path.home() / ".cache") / "compat-auth-peers"
    return Path(os.environ.get("COMPAT_AUTH_PEERS") or default)


def peer_python(name: str) -> str:
    """Return the interpreter of a peer's environment.

    Raises:
        Missing: The environment has not been made.
    """
    python = peers_folder() / name / "bin" / "python"
    if not python.exists():
        raise Missing(f"{python}: no such peer; run tests/support/peers/install")
    return str(python)


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    name: str, command: Sequence[str], port: int, folder: Path, *, env: dict[str, str] | None = None
) -> Generator[Program, None, None]:
    """Run a program from the moment it accepts connections; its output goes to a log in the folder."""
    with launched(name, command, port, folder, env=env) as program:
        deadline = time.monotonic() + START_S
        while not _accepts(port):
            if psutil.Process(program.pid).status() == psutil.STATUS_ZOMBIE or time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not answer:\n{(folder / f'{name}.log').read_text()[-2000:]}")
            time.sleep(0.05)
        yield program


@contextmanager
def launched(
    name: str, command: Sequence[str], port: int, folder: Path, *, env: dict[str, str] | None = None
) -> Generator[Program, None, None]:
    """Run a program without waiting for anything."""
    # What is measured is what the configuration file says, not what this shell happens to export.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("COMPAT_AUTH_")}
    with (folder / f"{name}.log").open("ab") as log:
        popen = subprocess.Popen(
            command,
            cwd=folder,
            env={**inherited, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield Program(name, port, popen.pid)
    finally:
        _end(popen)


def _end(popen: subprocess.Popen[bytes]) -> None:
    # The leader of the group is not yet waited for, so its id is still ours.
    with suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        popen.wait(5)
    with suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGKILL)
    popen.wait()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0

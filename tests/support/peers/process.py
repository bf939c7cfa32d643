"""Start a peer's program, wait until it answers, and end exactly what was started."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import pytest

# Linux hands out 32768 and above to outgoing connections: a port from there can be taken at any moment.
PORTS = range(20000, 32768)
LOG_TAIL_LINES = 40
POLL_S = 0.1
END_POLL_S = 0.02


def free_port() -> int:
    """Return a loopback port that nobody listens on, below the ephemeral range."""
    for port in random.sample(PORTS, 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.fail(f"200 ports tried between {PORTS.start} and {PORTS.stop}, all taken", pytrace=False)


def answers_http(url: str) -> bool:
    """Tell whether any HTTP answer comes from the URL, whatever its status."""
    try:
        # A proxy named by the environment has no way to this machine's loopback.
        with build_opener(ProxyHandler({})).open(url, timeout=5):
            return True
    except HTTPError as answer:
        answer.close()
        return True
    except (URLError, OSError):
        return False


def is_listening(url: str) -> bool:
    """Tell whether somebody takes connections at the URL's address, whatever is spoken there."""
    address = urlsplit(url)
    try:
        with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=5):
            return True
    except OSError:
        return False


class Process:
    """One program in a process group of its own, its output in one log file."""

    def __init__(self, name: str, log: Path, *, is_stopped_by_interrupt: bool = False) -> None:
        self.name = name
        self.log = log
        self._stop_signal = signal.SIGINT if is_stopped_by_interrupt else signal.SIGTERM
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None when it is not running."""
        return self._popen.pid if self._popen is not None and self._popen.poll() is None else None

    @property
    def returncode(self) -> int | None:
        """The exit status of the program; None while it runs, or before it was started."""
        return None if self._popen is None else self._popen.poll()

    def start(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        is_ready: Callable[[], bool],
        timeout_s: float,
        pass_files: Sequence[int] = (),
    ) -> None:
        """Start the program and return once it is ready; a program that dies or dawdles fails the test.

        Args:
            command: The program and its arguments.
            env: The whole environment of the program.
            is_ready: Asked every 0.1 s.
            timeout_s: How long the program may take.
            pass_files: File descriptors that the program gets, with the same numbers.
        """
        if self.pid is not None:
            raise RuntimeError(f"{self.name} is already running")
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                command,
                env=dict(env),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=pass_files,
            )
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            code = self._popen.poll()
            if code is not None:
                self.stop()
                pytest.fail(f"{self.name} ended with {code} before it was ready\n{self.log_tail()}", pytrace=False)
            if time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"{self.name} was not ready after {timeout_s:.0f} s\n{self.log_tail()}", pytrace=False)
            time.sleep(POLL_S)

    def stop(self, *, timeout_s: float = 20) -> None:
        """End the program and its children; does nothing when it is not running."""
        popen, self._popen = self._popen, None
        if popen is None:
            return
        # The group's leader is our own child and not yet waited for, so its id cannot belong to anybody else.
        with suppress(ProcessLookupError):
            os.killpg(popen.pid, self._stop_signal)
        deadline = time.monotonic() + timeout_s
        try:
            # A child outlives its parent for a moment, and may just be writing its coverage: a kill leaves half a file.
            while _lives(popen.pid) and time.monotonic() < deadline:
                time.sleep(END_POLL_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(popen.pid, signal.SIGKILL)
            popen.wait()

    @contextmanager
    def frozen(self) -> Generator[None, None, None]:
        """Let the program and its children do nothing until the block ends; their connections stay open and silent."""
        assert self.pid is not None
        # The parent first: it starts no child afterwards.
        os.kill(self.pid, signal.SIGSTOP)
        stopped = [self.pid, *_descendants(self.pid)]
        try:
            for pid in stopped[1:]:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in stopped:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def log_tail(self) -> str:
        """Return the last lines of the log, under a line that says where the rest is."""
        if not self.log.exists():
            return f"no log in {self.log}"
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join([f"--- end of {self.log}", *lines])


def stop_together(stops: Iterable[Callable[[], object]]) -> None:
    """Call what stops several programs at the same time: most of a stop is waiting."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        for stopped in [pool.submit(stop) for stop in stops]:
            stopped.result()


def _descendants(pid: int) -> list[int]:
    children = [child for child, fields in _processes() if int(fields[1]) == pid]
    return [one for child in children for one in (child, *_descendants(child))]


def _lives(group: int) -> bool:
    """Tell whether a process of the group runs still; one that has ended and is not waited for does not."""
    return any(int(fields[2]) == group and fields[0] not in ("Z", "X") for _, fields in _processes())


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Yield the id of each process, and state, parent, group and what follows in its `stat` (proc(5))."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        # A process may end while its folder is looked at. The name, in parentheses, may hold anything.
        with suppress(OSError):
            yield int(status.parent.name), status.read_text(errors="replace").rpartition(")")[2].split()


def run(command: Sequence[str], *, env: Mapping[str, str], folder: Path, log: Path) -> None:
    """Run a program in a folder to its end, output in the log; anything but success fails the test."""
    with log.open("ab") as output:
        code = subprocess.call(
            command, env=dict(env), cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    if code != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        pytest.fail(f"{' '.join(command)} ended with {code}\n--- end of {log}\n{tail}", pytrace=False)

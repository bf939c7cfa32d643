"""The echoing upstream as a process that a test can kill and start again."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.peers.airflows import JWT_SECRET
from support.peers.place import HERE
from support.peers.process import Process, answers_http, free_port

START_S = 30


class EchoUpstream:
    """One `echo_upstream.py`; keeps its port over a restart.

    Attributes:
        url: Without a slash at the end.
        process: The server.
    """

    def __init__(self, log: Path) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.process = Process("echo upstream", log)

    def start(self) -> None:
        """Start it and return once it answers."""
        self.process.start(
            [sys.executable, str(HERE / "echo_upstream.py"), str(self._port), JWT_SECRET],
            env=os.environ,
            is_ready=lambda: answers_http(self.url),
            timeout_s=START_S,
        )

    def kill(self) -> None:
        """End it without a chance to say goodbye, as a crash would."""
        if self.process.pid is not None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.stop()


@pytest.fixture(scope="session")
def echo_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EchoUpstream]:
    """An upstream that believes JWTs signed with `JWT_SECRET` and tells what reached it."""
    upstream = EchoUpstream(tmp_path_factory.mktemp("echo") / "log")
    upstream.start()
    yield upstream
    upstream.process.stop()

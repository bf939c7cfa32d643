"""A real Redis with a password, plain and over TLS; it keeps its ports over a restart, and forgets its data."""

import os
import shutil
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.peers.authority import Signed
from support.peers.process import Process, free_port

START_S = 20
PASSWORD = "redis-pässwörd"
_QUOTED = "redis-p%C3%A4ssw%C3%B6rd"


class RedisServer:
    """One server.

    Attributes:
        url: `redis://`, with the password.
        tls_url: `rediss://`, with the password and without an authority.
        process: The running server.
    """

    def __init__(self, folder: Path, signed: Signed) -> None:
        self._port, self._tls_port = free_port(), free_port()
        self._folder = folder
        self._signed = signed
        self.url = f"redis://:{_QUOTED}@127.0.0.1:{self._port}/0"
        self.tls_url = f"rediss://:{_QUOTED}@127.0.0.1:{self._tls_port}/0"
        self.process = Process("Redis", folder / "log")

    def start(self) -> None:
        """Start the server on the same ports as before."""
        program = shutil.which("redis-server")
        if program is None:
            pytest.fail("the peer Redis is not installed; run: apt-get install redis-server", pytrace=False)
        self.process.start(
            [
                program, "--bind", "127.0.0.1", "--port", str(self._port), "--tls-port", str(self._tls_port),
                "--tls-cert-file", str(self._signed.certificate), "--tls-key-file", str(self._signed.key),
                "--tls-auth-clients", "no", "--requirepass", PASSWORD, "--save", "", "--appendonly", "no",
                "--dir", str(self._folder),
            ],
            env=os.environ, is_ready=self._accepts_connections, timeout_s=START_S,
        )  # fmt: skip

    def stop(self) -> None:
        """Stop the server; its data is gone."""
        self.process.stop()

    @contextmanager
    def frozen(self) -> Generator[None]:
        """Let the server keep its connections and answer nothing for the block, as behind a broken network."""
        pid = self.process.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def away(self) -> Generator[None]:
        """Have no server for the block."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def _accepts_connections(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._tls_port)) == 0

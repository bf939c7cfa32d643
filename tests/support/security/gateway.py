"""A real `compat-auth serve`, and a client that sends bytes as they are."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bcrypt
import jwt
import psutil

from compat_auth.tokens.keys.keys import create_keys
from support.front import front_options
from support.security.upstream import Arrived, Recorder

USERS = {"alice": "wonder:land", "zoë": "pässword", **{f"user{number}": f"secret{number}" for number in range(40)}}
START_S = 30


def basic(username: str = "alice", password: str | None = None) -> bytes:
    """Return the Authorization value of a user of the gateway."""
    pair = f"{username}:{USERS[username] if password is None else password}"
    return b"Basic " + base64.b64encode(pair.encode())


@dataclass(frozen=True, slots=True)
class Answer:
    """What stands on the wire as an answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    rest: bytes


@dataclass
class Gateway:
    """The process, its upstream, and what it wrote."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    upstream: Recorder
    _jwks: dict[str, Any] = field(default_factory=dict[str, Any])

    def connect(self, timeout_s: float = 10) -> socket.socket:
        """Return a connection to the gateway."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)

    def exchange(self, raw: bytes, *, timeout_s: float = 10, half_close: bool = True) -> bytes:
        """Send the bytes and return all that comes until the gateway closes or is silent for the time."""
        received = b""
        with self.connect(timeout_s) as connection, contextlib.suppress(ConnectionError):
            connection.sendall(raw)
            if not half_close:
                connection.settimeout(0.35)
            with contextlib.suppress(TimeoutError):
                while part := connection.recv(65536):
                    received += part
        return received

    def ask(
        self, path: str = "/api/v2/x", *headers: tuple[bytes, bytes], method: str = "GET", host: bytes = b"gateway"
    ) -> Answer:
        """Send one well-formed request and return its answer."""
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        raw = b"%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n" % (
            method.encode(),
            path.encode("latin-1"),
            host,
            lines,
        )
        return parse_answers(self.exchange(raw))[0]

    def subject(self, arrived: Arrived) -> str:
        """Return whom the one JWT that the upstream got speaks for; its signature is checked."""
        (authorization,) = arrived.values(b"authorization")
        scheme, _, token = authorization.decode().partition(" ")
        assert scheme == "Bearer"
        if not self._jwks:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/.well-known/jwks.json") as answer:
                self._jwks = json.load(answer)
        key = jwt.PyJWK(self._jwks["keys"][0])
        claims = jwt.decode(token, key, algorithms=["EdDSA"], audience="apache-airflow")
        return str(claims["sub"])

    @property
    def memory_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)


def parse_answers(received: bytes) -> list[Answer]:
    """Return the answers in what was received, those with Content-Length or without a body."""
    answers: list[Answer] = []
    while b"\r\n\r\n" in received:
        head, received = received.split(b"\r\n\r\n", 1)
        status_line, *lines = head.split(b"\r\n")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        status = int(status_line.split(b" ")[1])
        length = int(dict(headers).get(b"content-length", b"0")) if status >= 200 else 0
        answers.append(Answer(status, headers, received[:length]))
        received = received[length:]
    return answers


def free_port() -> int:
    """Return a port below the ephemeral ones, so that no client's own port takes it meanwhile."""
    while True:
        port = random.randrange(20000, 32000)  # noqa: S311  # not a secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def write_config(folder: Path, upstream_url: str, extra: str = "", backends: str = '["basic_auth"]') -> Path:
    """Write a configuration with its password file and keys, and return its path."""
    lines = [f"{name}:{bcrypt.hashpw(secret.encode(), bcrypt.gensalt(4)).decode()}" for name, secret in USERS.items()]
    (folder / "htpasswd").write_text("\n".join(lines), encoding="utf-8")
    (folder / "htpasswd").chmod(0o600)
    create_keys(folder / "keys.json", algorithm="EdDSA", now=int(time.time()) - 5)
    config = folder / "compat_auth.toml"
    config.write_text(
        f"""auth_backends = {backends}
{extra}
[upstream]
url = "{upstream_url}"
profile = "generic"
timeout_s = 3
[token]
strategy = "key_pair"
key_file = "{folder / "keys.json"}"
[basic_auth]
directories = ["htpasswd"]
[htpasswd]
file = "{folder / "htpasswd"}"
""",
        encoding="utf-8",
    )
    return config


@contextlib.contextmanager
def running_gateway(
    config: Path,
    upstream: Recorder,
    *,
    environ: Mapping[str, str] | None = None,
    max_file_bytes: int = 0,
    start_s: float = START_S,
) -> Generator[Gateway]:
    """Serve until the end of the block, in a process of its own, which can make no file longer than the bound."""
    port, log = free_port(), config.parent / "log"
    command = [str(Path(sys.executable).with_name("compat-auth")), "serve", "--config", str(config)]
    env = {**os.environ, **(environ or {})}
    if max_file_bytes:
        # Half a file of coverage cannot be read; what this one runs, others run.
        env = {name: value for name, value in env.items() if not name.startswith("COVERAGE_")}
    # To the end of the file, whatever its length has become: as a service's log is written.
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, "--bind", f"127.0.0.1:{port}", *front_options()],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=config.parent,
        )
    if max_file_bytes:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    try:
        _wait_until_live(port, process, log, start_s)
        yield Gateway(port, process, log, upstream)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_live(port: int, process: subprocess.Popen[bytes], log: Path, start_s: float) -> None:
    deadline = time.monotonic() + start_s
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
            probe.sendall(b"GET /compat-auth/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            if probe.recv(100).startswith(b"HTTP/1.1 200"):
                return
        time.sleep(0.1)
    raise AssertionError(f"compat-auth serve did not start:\n{log.read_text(errors='replace')}")

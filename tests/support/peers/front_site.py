"""A site whose gateway starts its own nginx: `compat-auth serve --front nginx`."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import ssl
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from click.testing import CliRunner

from compat_auth.cli import commands
from support.peers.gateway import COMMAND, START_S, clean_environment, toml
from support.peers.generated import USERS
from support.peers.process import Process, free_port

UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname, UNVERIFIED.verify_mode = False, ssl.CERT_NONE


@dataclass(frozen=True)
class Answer:
    """An answer; header names are in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Return the values of a header."""
        return [value for found, value in self.headers if found == name]

    def json(self) -> Any:
        """Return the body, read as JSON."""
        return json.loads(self.body)

    @property
    def seen(self) -> dict[str, Any]:
        """What the upstream says that it has got, with its headers by name."""
        said = json.loads(self.body)
        names = [name for name, _ in said["headers"]]
        assert len(names) == len(set(names)), names
        return {**said, "headers": dict(said["headers"])}


def ask(
    url: str,
    target: str,
    *headers: tuple[str, str],
    method: str = "GET",
    body: bytes | None = None,
    host: str = "",
    timeout_s: float = 30,
) -> Answer:
    """Send one request as it is, on a connection of its own."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.netloc, timeout=timeout_s, context=UNVERIFIED
        )
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_s)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", host or parts.netloc)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return Answer(answer.status, [(name.lower(), value) for name, value in answer.getheaders()], answer.read())
    finally:
        connection.close()


class FrontSite:
    """A running `compat-auth serve`, with a front proxy or without.

    Attributes:
        url: Without a slash at the end.
        folder: Of its configuration.
        process: The command.
    """

    def __init__(self, folder: Path, url: str, process: Process) -> None:
        assert process.pid is not None
        self.folder, self.url, self.process = folder, url, process
        self.command = psutil.Process(process.pid)
        self.family = self.command.children(recursive=True)

    @property
    def log(self) -> str:
        """All that it has written."""
        return self.process.log.read_text(encoding="utf-8", errors="replace")

    @property
    def private(self) -> Path:
        """The folder of nginx."""
        return next(
            Path(line.split("its files in ")[1].split(";")[0])
            for line in self.log.splitlines()
            if "its files in" in line
        )

    def nginx(self) -> tuple[psutil.Process, list[psutil.Process]]:
        """Return nginx's first process and its workers."""
        master = next(
            one for one in self.command.children(recursive=True) if "master process" in " ".join(one.cmdline())
        )
        return master, [one for one in master.children() if _lives(one)]

    def keeper(self) -> psutil.Process:
        """Return the process that keeps nginx."""
        living = filter(_lives, self.command.children())
        return next(one for one in living if any("keeper.py" in part for part in one.cmdline()))

    def workers(self) -> list[psutil.Process]:
        """Return the gateway's own workers that live."""
        keeper = self.keeper()
        return [one for one in self.command.children() if one.pid != keeper.pid and _lives(one)]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command alone."""
        os.kill(self.command.pid, number)

    def status(self, within_s: float = 25) -> int | None:
        """Wait for the end of the command, and return its exit status; None while it runs."""
        until = time.monotonic() + within_s
        while (status := self.process.returncode) is None and time.monotonic() < until:
            time.sleep(0.05)
        return status

    def leftovers(self, within_s: float = 8) -> list[str]:
        """Return what is left of its processes and of nginx's folder, once nothing is or the time is over."""
        until = time.monotonic() + within_s
        while True:
            left = [f"{one.pid} {one.name()}" for one in self.family if _lives(one)]
            left += [str(self.private)] if self.private.exists() else []
            if not left or time.monotonic() > until:
                return left
            time.sleep(0.1)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


Serve = Callable[..., FrontSite]


def write_settings(folder: Path, upstream: str, **more: Any) -> Path:
    """Write a configuration, its users and its keys into a folder; return the configuration."""
    for name, password in USERS.items():
        add = ["users", "add", name, "--file", str(folder / "users"), "--password-stdin"]
        assert CliRunner().invoke(commands, add, input=f"{password}\n").exit_code == 0
    assert CliRunner().invoke(commands, ["keys", "create", "--file", str(folder / "keys.json")]).exit_code == 0
    settings: dict[str, Any] = {
        "auth_backends": ["personal_token", "basic_auth"],
        "database_url": f"sqlite:///{folder}/store.db",
        "upstream": {"url": upstream, "profile": "generic"},
        "token": {"strategy": "key_pair", "key_file": f"{folder}/keys.json"},
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": f"{folder}/users"},
        "personal_tokens": {"failures_per_minute": 100_000, "per_user_limit": 1000},
        **more,
    }
    config = folder / "compat_auth.toml"
    config.write_text(toml(settings), encoding="utf-8")
    return config


@contextmanager
def serving(
    folder: Path, upstream: str, *options: str, front: str = "nginx", host: str = "", **more: Any
) -> Generator[FrontSite]:
    """Run `compat-auth serve` until the end of the block.

    Args:
        folder: For its configuration and log.
        upstream: URL.
        options: Of the command.
        front: The front proxy; "": none.
        host: In the request that finds out whether it serves.
        more: Settings.
    """
    serve = {"bind": f"127.0.0.1:{free_port()}", "drain_s": 0, "workers": 2, **more.pop("serve", {})}
    config = write_settings(folder, upstream, serve=serve, **more)
    command = [COMMAND, "serve", "--config", str(config), *(("--front", front) if front else ()), *options]
    url = f"{'https' if serve.get('tls_cert') else 'http'}://{serve['bind']}"
    process = Process("compat-auth serve", folder / "log")
    try:
        process.start(command, env=environment_of(folder), is_ready=lambda: _is_serving(url, host), timeout_s=START_S)
        yield FrontSite(folder, url, process)
    finally:
        process.stop()
        _short_name(folder).unlink(missing_ok=True)


def environment_of(folder: Path) -> Mapping[str, str]:
    """Return the environment of a command, with a folder of its own for what is temporary.

    The folder is named by a short link: the path of a Unix socket has at most 107 bytes (unix(7)).
    """
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    short = _short_name(folder)
    short.unlink(missing_ok=True)
    short.symlink_to(temporary)
    return {**clean_environment(), "TMPDIR": str(short)}


def _short_name(folder: Path) -> Path:
    return Path(tempfile.gettempdir()) / f"front-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"


def _is_serving(url: str, host: str) -> bool:
    try:
        return ask(url, "/compat-auth/ready", host=host).status == 200
    except (OSError, http.client.HTTPException):
        return False

"""Canary secrets through crashes: code that raises what it was given, and a worker that hangs, breaks or is killed."""

from __future__ import annotations

import base64
import contextlib
import resource
import signal
import time
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest

from support.security.gateway import Gateway, running_gateway, write_config
from support.security.upstream import Recorder

CANARY = "canary-Pa55word-of-a-crash"
_MODULE = """
import asyncio, gc, os, threading, time
from flask import request

class Odd(BaseException):
    pass

class Broken:
    def __init__(self, secret):
        self.secret = secret

    def __del__(self):
        raise ValueError(self.secret)

    def __repr__(self):
        return self.secret

def fail(secret):
    raise ValueError(secret)

async def fail_later(secret):
    asyncio.get_running_loop().create_task(fail_soon(secret))
    await asyncio.sleep(0.01)

async def fail_soon(secret):
    raise ValueError(secret)

def init_app(app):
    pass

def requires_authentication(function):
    def decorated(*args, **kwargs):
        credential = request.authorization
        name, secret = (credential.username, credential.password) if credential is not None else ("", "")
        if name == "system-exit":
            raise SystemExit(secret)
        if name == "keyboard-interrupt":
            raise KeyboardInterrupt(secret)
        if name == "odd":
            raise Odd(secret)
        if name == "thread":
            threading.Thread(target=fail, args=(secret,), name="of-a-backend").start()
        if name == "destructor":
            Broken(secret)
        if name == "task":
            asyncio.run(fail_later(secret))
            gc.collect()
        if name == "signal":
            os.abort()
        if name in ("hang", "killed"):
            open(name, "w").close()
            while not os.path.exists(name + "-over"):
                time.sleep(0.05)
        return "no", 401, {"WWW-Authenticate": "Digest"}
    return decorated
"""
# What the log says about each.
SHOWN = {
    "system-exit": "SystemExit > ",
    "keyboard-interrupt": "KeyboardInterrupt (its message is not logged)",
    "odd": "Odd > ",
    "thread": "thread of-a-backend ended by an unexpected exception",
    "destructor": "an exception in a function was ignored",
    "task": "Task exception was never retrieved",
    "signal": "Fatal Python error: Aborted",
    "hang": "Thread 0x",
    "killed": "exited with status -9",
}


@pytest.fixture(scope="module")
def crashing(tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    folder = tmp_path_factory.mktemp("crash")
    (folder / "mine").mkdir()
    (folder / "mine" / "crashing_backend.py").write_text(_MODULE, encoding="utf-8")
    # Nothing listens there: nobody is accepted either.
    config = write_config(folder, "http://127.0.0.1:9", backends='["mine.crashing_backend"]')
    environ = {"PYTHONPATH": str(folder), "COMPAT_AUTH_LOG_LEVEL": "DEBUG", "PYTHONFAULTHANDLER": "1"}
    with running_gateway(config, Recorder(), environ=environ) as gateway:
        yield gateway


def head_of(name: str) -> bytes:
    pair = base64.b64encode(f"{name}:{CANARY}".encode())
    return b"GET /api/x HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nAuthorization: Basic %s\r\n\r\n" % pair


def worker_of(gateway: Gateway) -> psutil.Process:
    (worker,) = psutil.Process(gateway.process.pid).children()
    return worker


def log_with(gateway: Gateway, text: str, start: int) -> str:
    """Return the log from a place on, once the text is in it and a worker answers again."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            is_live = gateway.exchange(b"GET /compat-auth/live HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")
            log = gateway.log.read_bytes()[start:].decode(errors="replace")
            if is_live and text in log:
                return log
        time.sleep(0.1)
    raise AssertionError(f"not in the log: {text}")


@contextlib.contextmanager
def hanging_check(gateway: Gateway, name: str) -> Generator[None]:
    """Send a request whose check hangs, and go on once it does."""
    with gateway.connect(60) as connection:
        connection.sendall(head_of(name))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (gateway.log.parent / name).exists():
            time.sleep(0.1)
        yield
        (gateway.log.parent / f"{name}-over").touch()


@pytest.mark.parametrize("name", [name for name in SHOWN if name not in ("hang", "killed")])
def test_an_accident_writes_no_secret_into_the_log(crashing: Gateway, name: str) -> None:
    start = crashing.log.stat().st_size

    crashing.exchange(head_of(name))

    log = log_with(crashing, SHOWN[name], start)
    assert CANARY not in log


def test_the_traces_of_a_hanging_worker_hold_no_secret(crashing: Gateway) -> None:
    start = crashing.log.stat().st_size

    with hanging_check(crashing, "hang"):
        worker_of(crashing).send_signal(signal.SIGQUIT)

        log = log_with(crashing, SHOWN["hang"], start)

    assert "crashing_backend.py" in log
    assert CANARY not in log


def test_a_killed_worker_leaves_no_secret_in_the_log(crashing: Gateway) -> None:
    start = crashing.log.stat().st_size

    with hanging_check(crashing, "killed"):
        worker_of(crashing).kill()

        log = log_with(crashing, SHOWN["killed"], start)

    assert CANARY not in log


def test_no_process_may_write_a_core_dump(crashing: Gateway) -> None:
    limits = [resource.prlimit(pid, resource.RLIMIT_CORE) for pid in (crashing.process.pid, worker_of(crashing).pid)]

    assert all(limit <= 1 for pair in limits for limit in pair)
    assert [path for path in Path(crashing.log.parent).iterdir() if path.name.startswith("core")] == []

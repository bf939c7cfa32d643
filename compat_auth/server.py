"""The processes of `compat-auth serve`: uvicorn with httptools and uvloop, preforked.

The parent loads everything once and forks, so that a further worker costs only the memory that it writes to
(uvicorn's own workers are spawned and load everything again).
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import Literal

import uvicorn

from compat_auth.asgi import ASGIApp
from compat_auth.errors import ConfigError
from compat_auth.protocol import StrictProtocol

logger = logging.getLogger("compat_auth.server")

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A worker that dies at once would be forked again without end.
_RESPAWN_PAUSE_S = 1.0
_GRACEFUL_STOP_S = 15


def bind_socket(bind: str, setting: str = "serve.bind") -> socket.socket:
    """Return a listening socket for "HOST:PORT", "[HOST]:PORT" or "PORT".

    Args:
        bind: The address.
        setting: Where it comes from, for messages.

    Raises:
        ConfigError: The address is malformed or taken.
    """
    host, _, port = bind.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{setting}: {bind!r}: not HOST:PORT")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
        listener.listen(2048)
    except OSError as exc:
        listener.close()
        raise ConfigError(f"{setting}: {bind}: {exc.strerror}; choose another address or end what holds it") from exc
    listener.set_inheritable(True)
    return listener


def uvicorn_config(app: ASGIApp | str, lifespan: Literal["on", "auto", "off"] = "on") -> uvicorn.Config:
    """Return how we run uvicorn: it must not read forward headers, and must not log what may hold a credential."""
    return uvicorn.Config(
        app,
        http=StrictProtocol,
        loop="uvloop",
        lifespan=lifespan,
        ws="none",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        access_log=False,
        log_config=None,
        # Longer than the 60 s for which nginx keeps a connection: we must not be the one that closes it first.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACEFUL_STOP_S,
    )


def serve_workers(app: ASGIApp, listeners: list[socket.socket], workers: int) -> int:
    """Serve until SIGINT or SIGTERM and return the exit status.

    Args:
        app: Made before the fork, so that what is wrong with it has ended the start, not a worker.
        listeners: Shared by all workers.
        workers: Processes; with 1 there is no parent.
    """
    if workers == 1:
        return _serve(app, listeners)
    return _Parent(app, listeners, workers).run()


def _serve(app: ASGIApp, listeners: list[socket.socket]) -> int:
    server = uvicorn.Server(uvicorn_config(app))
    # uvicorn stops gracefully and then raises the signal again: SIGTERM's own action would skip what cleans up after us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=listeners)
    return 0 if server.started else 1


class _Parent:
    """Forks the workers, replaces one that dies, and ends them all."""

    def __init__(self, app: ASGIApp, listeners: list[socket.socket], workers: int) -> None:
        self._app = app
        self._listeners = listeners
        self._workers = workers
        self._children: set[int] = set()
        self._stopping = False
        # Nothing is ever written: reading ends when the last writer, the parent, is gone.
        self._parent_gone, self._parent_lives = os.pipe()

    def run(self) -> int:
        gc.collect()
        # What exists now is shared by all workers: the collector must not touch, and so copy, its pages.
        gc.freeze()
        for number in _STOP_SIGNALS:
            signal.signal(number, self._stop)
        while not self._stopping:
            while len(self._children) < self._workers and not self._stopping:
                self._fork()
            self._wait_for_one()
        self._end_all()
        return 0

    def _fork(self) -> None:
        child = os.fork()
        if child:
            self._children.add(child)
            return
        status = 1
        try:
            for number in _STOP_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            os.close(self._parent_lives)
            threading.Thread(target=self._end_with_parent, daemon=True).start()
            status = _serve(self._app, self._listeners)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            # A worker that still waits for a stuck backend's thread would never end.
            os._exit(status)

    def _end_with_parent(self) -> None:
        os.read(self._parent_gone, 1)
        # A parent that was killed must not leave workers behind that hold the port.
        os.kill(os.getpid(), signal.SIGTERM)

    def _wait_for_one(self) -> None:
        try:
            child, status = os.wait()
        except InterruptedError:
            return
        except ChildProcessError:
            time.sleep(_RESPAWN_PAUSE_S)
            return
        self._children.discard(child)
        if not self._stopping:
            logger.error("worker %d ended with status %d; starting another", child, os.waitstatus_to_exitcode(status))
            time.sleep(_RESPAWN_PAUSE_S)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        for child in self._children:
            _signal(child, signal.SIGTERM)

    def _end_all(self) -> None:
        deadline = time.monotonic() + _GRACEFUL_STOP_S + 5
        while self._children and time.monotonic() < deadline:
            child, _ = os.waitpid(-1, os.WNOHANG)
            self._children.discard(child)
            if not child:
                time.sleep(0.05)
        for child in self._children:
            _signal(child, signal.SIGKILL)


def _signal(child: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)

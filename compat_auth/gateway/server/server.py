"""The processes of `compat-auth serve`: uvicorn with httptools and uvloop, preforked.

The parent loads everything once and forks, so that another worker costs only the memory that it writes to
(uvicorn spawns its own workers, which load everything again).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from compat_auth.config.gateway import ServeSettings
from compat_auth.errors import AddressTaken, ConfigError
from compat_auth.gateway.connections.bounded_protocol import ServerConfig
from compat_auth.gateway.connections.bounds import ConnectionBounds
from compat_auth.gateway.connections.uvicorn_protocol import StrictProtocol
from compat_auth.gateway.server.front_process import FrontCommand, FrontProcess
from compat_auth.gateway.server.front_watch import FRONT_END_S
from compat_auth.gateway.server.open_files import connections_within, raise_limit
from compat_auth.gateway.server.supervisor import Supervisor
from compat_auth.gateway.server.tls import ServerTls
from compat_auth.gateway.server.worker import GRACE_S, WorkerServer
from compat_auth.gateway.server.worker_states import WorkerStates
from compat_auth.gateway.telemetry.scrape import Part, ProcessNumbers, Surroundings
from compat_auth.gateway.telemetry.worker_metrics import WorkerMetrics
from compat_auth.http.asgi import ASGIApp
from compat_auth.telemetry import families
from compat_auth.telemetry.shared import SharedNumbers


@dataclass(frozen=True, slots=True)
class ServedMetrics:
    """The metrics of all workers.

    Attributes:
        process: The numbers of a process.
        surroundings: The values that are the same for all workers.
        listener: Where scrapes come in.
    """

    process: ProcessNumbers
    surroundings: Surroundings
    listener: socket.socket


def bind_socket(bind: str, setting: str = "serve.bind") -> socket.socket:
    """Return a listening socket for "HOST:PORT", "[HOST]:PORT" or "PORT".

    Args:
        bind: The address.
        setting: The setting that holds it, for messages.

    Raises:
        ConfigError: The address is malformed, or this machine does not have it.
        AddressTaken: Another program listens there.
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
        kind = AddressTaken if exc.errno == errno.EADDRINUSE else ConfigError
        raise kind(
            f"{setting}: {bind}: {exc.strerror}; choose another address or stop the program that uses it"
        ) from exc
    listener.set_inheritable(True)
    return listener


def bind_private(path: Path) -> socket.socket:
    """Return a socket that listens at a path, for our own front proxy.

    Args:
        path: In a folder that no other account may enter: who connects there is believed.

    Raises:
        ConfigError: The path is too long for a socket.
    """
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(2048)
    except OSError as exc:
        listener.close()
        raise ConfigError(f"--front: {path}: no socket can be made there ({exc}); set TMPDIR to a short path") from None
    return listener


def uvicorn_config(
    app: ASGIApp | str,
    lifespan: Literal["on", "auto", "off"] = "on",
    *,
    bounds: ConnectionBounds | None = None,
    protocol: type[StrictProtocol] = StrictProtocol,
) -> ServerConfig:
    """Return our configuration of uvicorn: it reads no forward headers and logs nothing that may hold a credential."""
    config = ServerConfig(
        app,
        http=protocol,
        loop="uvloop",
        lifespan=lifespan,
        ws="none",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        access_log=False,
        log_config=None,
        # Longer than nginx's keep-alive of 60 s: we must not close a connection first.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(GRACE_S),
    )
    config.bounds = bounds or ConnectionBounds()
    return config


def serve_workers(
    app: ASGIApp,
    listeners: list[socket.socket],
    settings: ServeSettings,
    *,
    is_proxy: Callable[[str], bool] = lambda _: False,
    tls: ServerTls | None = None,
    protocol: type[StrictProtocol] = StrictProtocol,
    metrics: ServedMetrics | None = None,
    front: FrontCommand | None = None,
) -> int:
    """Serve until SIGINT or SIGTERM and return the exit status.

    Args:
        app: Built before the fork, so that an error in it stops the start and not a worker.
        listeners: Shared by all workers.
        settings: The number of workers and their limits.
        is_proxy: Whether an address is a proxy's, which stands for many clients.
        tls: The TLS of all listeners; None: plain HTTP.
        protocol: The class of the clients' connections.
        metrics: The metrics of all workers; None: there are none.
        front: The front proxy that takes the clients' connections; None: the listeners do.
    """
    open_files = raise_limit()
    limit = settings.max_connections or connections_within(open_files)
    per_address = settings.max_connections_per_address or max(1, limit // 2)
    bounds = ConnectionBounds(limit, per_address, is_exempt=is_proxy)
    states = WorkerStates(settings.workers, silence_s=settings.worker_timeout_s)
    shared = None if metrics is None else SharedNumbers(settings.workers)

    def run_worker(worker: int) -> int:
        config = uvicorn_config(app, bounds=bounds, protocol=protocol)
        config.tls = None if tls is None else tls.context
        drain_s = settings.drain_s if front is None else settings.drain_s + FRONT_END_S
        own = None
        if metrics is not None and shared is not None:
            process = replace(metrics.process, parts=(*metrics.process.parts, _connections(bounds)))
            own = WorkerMetrics(process, metrics.surroundings, shared, worker, states.phases), metrics.listener
        server = WorkerServer(config, states, worker, drain_s=drain_s, tls=tls, metrics=own)
        server.run(sockets=listeners)
        return 0 if server.started else 1

    running = None if front is None else FrontProcess(front)
    reloads = tls is not None
    try:
        return Supervisor(run_worker, listeners, states, drain_s=settings.drain_s, front=running, reloads=reloads).run()
    finally:
        if running is not None:
            running.end()


def _connections(bounds: ConnectionBounds) -> Part:
    return lambda: [(families.CONNECTIONS, (), bounds.present)]


def serve_here(app: ASGIApp, listener: socket.socket) -> int:
    """Serve in this process, which may have threads, until SIGINT or SIGTERM; return the exit status."""
    server = WorkerServer(uvicorn_config(app), WorkerStates(1, silence_s=60), 0, drain_s=0, is_alone=True)
    server.run(sockets=[listener])
    return 0 if server.started else 1

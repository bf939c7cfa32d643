"""The processes of `compat-auth serve`: uvicorn with httptools and uvloop, preforked.

The parent loads everything once and forks, so that another worker costs only the memory that it writes to
(uvicorn spawns its own workers, which load everything again).
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from compat_auth.config.gateway import ServeSettings
from compat_auth.errors import AddressTaken, CompatAuthError, ConfigError
from compat_auth.gateway.connections.bounded_protocol import ServerConfig
from compat_auth.gateway.connections.bounds import ConnectionBounds
from compat_auth.gateway.connections.uvicorn_protocol import StrictProtocol
from compat_auth.gateway.server.front_process import FRONT_END_S, FrontCommand, FrontProcess
from compat_auth.gateway.server.generation import Plan
from compat_auth.gateway.server.open_files import connections_within, raise_limit
from compat_auth.gateway.server.reloading import PLACES, Built, Reload
from compat_auth.gateway.server.supervisor import Supervisor
from compat_auth.gateway.server.tls import ServerTls
from compat_auth.gateway.server.worker import GRACE_S, WorkerServer
from compat_auth.gateway.server.worker_states import WorkerStates
from compat_auth.gateway.service.file_watch import FileWatch
from compat_auth.gateway.service.reload_status import ReloadStatus
from compat_auth.gateway.telemetry.scrape import Part, ProcessNumbers, Surroundings
from compat_auth.gateway.telemetry.worker_metrics import WorkerMetrics
from compat_auth.http.asgi import ASGIApp
from compat_auth.telemetry import families
from compat_auth.telemetry.shared import SharedNumbers

logger = logging.getLogger("compat_auth.server")


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


@dataclass(frozen=True, slots=True)
class Served:
    """One configuration, built: what its workers serve.

    Attributes:
        app: Built before the fork, so that an error in it stops the start, or the reload, and not a worker.
        settings: The number of workers and their limits.
        is_proxy: Whether an address is a proxy's, which stands for many clients.
        tls: The TLS of all listeners; None: plain HTTP.
        protocol: The class of the clients' connections.
        metrics: The metrics of all workers; None: there are none.
        watch: The files that it is made of, watched since before they were read; None: nobody watches them.
        take_over: Called before its workers accept connections; may raise, and then it does not serve.
        restore: Called where a later configuration was built and does not serve: sets again what all share.
    """

    app: ASGIApp
    settings: ServeSettings
    is_proxy: Callable[[str], bool] = lambda _: False
    tls: ServerTls | None = None
    protocol: type[StrictProtocol] = StrictProtocol
    metrics: ServedMetrics | None = None
    watch: FileWatch | None = None
    take_over: Callable[[], None] = lambda: None
    restore: Callable[[], None] = lambda: None


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
    served: Served,
    listeners: list[socket.socket],
    *,
    check: Callable[[], None],
    build: Callable[[], Served],
    front: FrontCommand | None = None,
    kept: frozenset[int] = frozenset(),
) -> int:
    """Serve until SIGINT or SIGTERM and return the exit status.

    Args:
        served: The first configuration.
        listeners: Shared by all workers.
        check: Raises where the configuration, as it is now, must not be used; called in a process of its own.
        build: Builds the configuration as it is now, for SIGHUP.
        front: The front proxy that takes the clients' connections; None: the listeners do.
        kept: File descriptors of listeners that outlive us, because a service manager has opened them.
    """
    replica = _Replica(served, listeners, has_front=front is not None, kept=kept)
    running = None if front is None else FrontProcess(front)

    def build_plan() -> Built:
        after = build()
        return Built(replica.plan(after), after.watch, lambda: replica.take_over(after))

    reload = Reload(check, build_plan, replica.restore, replica.status, served.watch)
    plan = replica.plan(served)
    try:
        return Supervisor(plan, listeners, reload, front=running, kept=kept).run()
    finally:
        if running is not None:
            running.end()


class _Replica:
    """The objects that the workers of all configurations share."""

    def __init__(
        self, served: Served, listeners: list[socket.socket], *, has_front: bool, kept: frozenset[int]
    ) -> None:
        self.served = served
        self.status = ReloadStatus()
        self._listeners = listeners
        self._front_s = FRONT_END_S if has_front else 0.0
        self._kept = kept
        self._numbers = None if served.metrics is None else SharedNumbers(PLACES)
        self._open_files = raise_limit()

    def take_over(self, served: Served) -> None:
        """Note the configuration that serves from now on."""
        served.take_over()
        self.served = served

    def restore(self) -> None:
        """Set again what the configuration that serves shares with one that was built and does not serve."""
        try:
            self.served.restore()
        except CompatAuthError as error:
            logger.error("%s; the rest of the configuration before goes on", error)  # noqa: TRY400  # one's own text

    def plan(self, served: Served) -> Plan:
        """Return the work of a configuration's workers."""
        settings = served.settings
        limit = settings.max_connections or connections_within(self._open_files)
        per_address = settings.max_connections_per_address or max(1, limit // 2)
        bounds = ConnectionBounds(limit, per_address, is_exempt=served.is_proxy)
        states = WorkerStates(settings.workers, silence_s=settings.worker_timeout_s, reloads=self.status)

        def run_worker(worker: int, place: int) -> int:
            config = uvicorn_config(served.app, bounds=bounds, protocol=served.protocol)
            config.tls = None if served.tls is None else served.tls.context
            server = WorkerServer(
                config,
                states,
                worker,
                drain_s=settings.drain_s + self._front_s,
                tls=served.tls,
                metrics=self._metrics_of(served.metrics, bounds, states, place),
                kept=self._kept,
            )
            server.run(sockets=self._listeners)
            return 0 if server.started else 1

        if self._numbers is None:
            return Plan(run_worker, states, settings.drain_s)
        return Plan(run_worker, states, settings.drain_s, self._numbers.keep_counts)

    def _metrics_of(
        self, metrics: ServedMetrics | None, bounds: ConnectionBounds, states: WorkerStates, place: int
    ) -> tuple[WorkerMetrics, socket.socket] | None:
        if metrics is None or self._numbers is None:
            return None
        process = replace(metrics.process, parts=(*metrics.process.parts, _connections(bounds)))
        own = WorkerMetrics(process, metrics.surroundings, self._numbers, place, states.phases, self.status)
        return own, metrics.listener


def _connections(bounds: ConnectionBounds) -> Part:
    return lambda: [(families.CONNECTIONS, (), bounds.present)]


def serve_here(app: ASGIApp, listener: socket.socket) -> int:
    """Serve in this process, which may have threads, until SIGINT or SIGTERM; return the exit status."""
    server = WorkerServer(uvicorn_config(app), WorkerStates(1, silence_s=60), 0, drain_s=0, is_alone=True)
    server.run(sockets=[listener])
    return 0 if server.started else 1

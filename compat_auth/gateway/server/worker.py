"""A worker of `compat-auth serve`: uvicorn's server with a heartbeat, which loses no request when it stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
import sys
from types import FrameType
from typing import cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from compat_auth.gateway.connections.bounded_protocol import ServerConfig
from compat_auth.gateway.connections.uvicorn_protocol import StrictProtocol
from compat_auth.gateway.server.tls import ServerTls
from compat_auth.gateway.server.worker_states import REPLICA, Phase, Stop, WorkerStates
from compat_auth.gateway.service.forking import UNUSED_SIGNALS
from compat_auth.gateway.telemetry.worker_metrics import WorkerMetrics

logger = logging.getLogger("compat_auth.server")

BEAT_S = 0.5
GRACE_S = 15.0
"""How long pending requests may take when a replica stops."""
RETIRE_S = 300.0
"""How long they may take after workers with another configuration have taken over."""
HANDSHAKE_S = 0.2
"""How long a TCP handshake may take that began before we stopped accepting: a round trip."""
# A client may already have sent its next request on an idle connection; closing would reset it.
IDLE_LINGER_S = 1.0
# A handshake of TLS may be under way that no connection stands for yet.
_TLS_LINGER_S = 3.0
_HELD_LOOK_S = 0.02

_SO_ATTACH_FILTER = 26
# ldb [13] (the flags of TCP); and SYN|ACK; jeq SYN: drop, else pass. See bpf(4) and socket(7).
_DROP_SYN = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def stop_accepting(listener: socket.socket) -> None:
    """Make the kernel drop new connection attempts (SYN); established connections can still be accepted.

    A client that was dropped retries after a second and gets an error once the listener is closed: a proxy then uses
    another replica. Closing a listener that still accepts resets connections that nobody has accepted yet, and a proxy
    must not send a POST twice. Linux only; elsewhere it changes nothing.
    """
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415  # only a process that stops needs it

    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in _DROP_SYN))
    try:
        listener.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program))
        )
    except OSError as exc:
        logger.debug("the listener accepts connections until it is closed: %s", exc.strerror)


class WorkerServer(uvicorn.Server):
    """The server of one worker.

    Args:
        config: uvicorn's configuration and our limits.
        states: The states of all workers of the replica.
        worker: This worker's number.
        drain_s: How long it still accepts connections after `ready` reports that the replica stops.
        is_alone: Whether it runs without a parent.
        metrics: The metrics of this worker, and their listener; None: there are none.
        tls: Its certificate, read again when its files change or the parent asks; None: plain HTTP.
        kept: File descriptors of listeners that outlive the replica, because a service manager has opened them.
    """

    def __init__(
        self,
        config: ServerConfig,
        states: WorkerStates,
        worker: int,
        *,
        drain_s: float,
        is_alone: bool = False,
        metrics: tuple[WorkerMetrics, socket.socket] | None = None,
        tls: ServerTls | None = None,
        kept: frozenset[int] = frozenset(),
    ) -> None:
        super().__init__(config)
        self._kept = kept
        self._certificate = tls
        self._reloads = states.reloads
        self._metrics = metrics
        self._tls = config.tls
        self._bounds = config.bounds
        self._states = states
        self._worker = worker
        self._drain_s = drain_s
        self._is_alone = is_alone
        self._phase = Phase.STARTING
        self._lacks_files = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and send a heartbeat from then on."""
        loop = asyncio.get_running_loop()
        for number in UNUSED_SIGNALS:
            if number != signal.SIGHUP or self._certificate is None:
                loop.add_signal_handler(number, _ignore, number)
        # Without the listeners: uvicorn would accept connections at once.
        await super().startup([])
        self.lifespan.state[REPLICA] = self._states
        self._phase = Phase.PREPARED
        self._beat()
        while self._states.is_held and not self._must_exit():  # noqa: ASYNC110  # another process writes it
            await asyncio.sleep(_HELD_LOOK_S)
        if self._states.is_held:
            self.should_exit = True
            return
        for listener in sockets or []:
            server = await loop.create_server(self._protocol, sock=listener, ssl=self._tls, backlog=self.config.backlog)
            self.servers.append(server)
        self._enter(Phase.SERVING)
        if self._metrics is not None:
            metrics, listener = self._metrics
            await metrics.open(listener)

    def _must_exit(self) -> bool:
        return self.should_exit or self._states.stop is not Stop.NOT

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; the parent, which gets the same signals, decides how quickly."""
        del sig, frame
        if self._is_alone and self.should_exit:
            self._states.stop = Stop.NOW
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether it is time to stop."""
        return await super().on_tick(counter) or self._must_exit() or self._states.is_replaced

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop after every connected client has got its answer."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._enter(Phase.STOPPING)
        self._bounds.stopping = True
        for connection in self._connections():
            connection.announce_close()
        if self._states.is_replaced or self._states.is_held:
            await self._leave_listeners(sockets or [])
        else:
            await self._wait(self._drain_s, unless=Stop.SOON)
            await self._close_listeners(sockets or [])
        # The parent decides how long requests may take that were under way when other workers took over.
        deadline = loop.time() + (GRACE_S if not self._states.is_replaced else RETIRE_S)
        while self._is_busy() and loop.time() < deadline and self._states.stop is not Stop.NOW:
            self._end_idle(stopping_since=began)
            await asyncio.sleep(0.05)
        await self._end_pending()
        if self._metrics is not None:
            self._metrics[0].close()
        await self.lifespan.shutdown()

    async def _leave_listeners(self, sockets: list[socket.socket]) -> None:
        """Accept nothing more from listeners that others use: what the kernel has established waits for them."""
        if self._metrics is not None:
            self._metrics[0].stop_answering()
        for server in self.servers:
            server.close()
        for listener in sockets:
            listener.close()
        self._enter(Phase.CLOSED)
        if self.servers:
            await self._linger()

    async def _close_listeners(self, sockets: list[socket.socket]) -> None:
        own = [listener for listener in sockets if listener.fileno() not in self._kept]
        for listener in own:
            stop_accepting(listener)
        if own:
            await self._wait(HANDSHAKE_S, unless=Stop.NOW)
        for listener in own:
            await self._accept_all(listener)
        for server in self.servers:
            server.close()
        for listener in sockets:
            listener.close()
        self._enter(Phase.CLOSED)
        if len(own) < len(sockets):
            await self._linger()

    async def _linger(self) -> None:
        linger_s = IDLE_LINGER_S if self._tls is None else _TLS_LINGER_S
        await self._wait(linger_s, unless=Stop.NOW)

    async def _accept_all(self, listener: socket.socket) -> None:
        """Accept every connection that the kernel has established, even if this process is late."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                # No connection is left, or another process has shut the listener down.
                return
            # A handshake that fails is one client's.
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(self._protocol, connection, ssl=self._tls)

    def _protocol(self) -> StrictProtocol:
        protocol = cast("type[StrictProtocol]", self.config.http_protocol_class)
        return protocol(self.config, self.server_state, self.lifespan.state)

    def _connections(self) -> list[StrictProtocol]:
        connections = cast("set[HttpToolsProtocol]", self.server_state.connections)
        return [connection for connection in connections if isinstance(connection, StrictProtocol)]

    def _is_busy(self) -> bool:
        return bool(self.server_state.connections or self.server_state.tasks)

    def _end_idle(self, *, stopping_since: float) -> None:
        latest = asyncio.get_running_loop().time() - IDLE_LINGER_S
        for connection in self._connections():
            if connection.is_idle and max(connection.idle_since, stopping_since) <= latest:
                connection.make_room()

    async def _end_pending(self) -> None:
        waiting = self._connections()
        if waiting:
            logger.warning("%d connections closed: their requests took too long", len(waiting))
        for connection in waiting:
            connection.end_for_stop()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 1
        while self._is_busy() and loop.time() < deadline:  # noqa: ASYNC110  # uvicorn's state has no event
            await asyncio.sleep(0.02)

    async def _wait(self, seconds: float, *, unless: Stop) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end and self._states.stop < unless:  # noqa: ASYNC110  # another process writes it
            await asyncio.sleep(min(0.05, seconds))

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._states.beat(self._worker, phase)

    def _beat(self) -> None:
        self._states.beat(self._worker, self._phase)
        self._check_open_files()
        self._refresh_certificate()
        if self._metrics is not None:
            self._metrics[0].publish()
        asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def _refresh_certificate(self) -> None:
        reloads = self._states.reloads
        if self._certificate is None:
            return
        if reloads == self._reloads:
            self._certificate.refresh()
        else:
            self._reloads = reloads
            self._certificate.reload()

    def _check_open_files(self) -> None:
        """Log that no file can be opened: the event loop closes what it accepts then, without a message."""
        try:
            os.close(os.dup(2))
        except OSError as exc:
            if not self._lacks_files:
                logger.error(  # noqa: TRY400  # a traceback adds nothing
                    "no connection can be accepted or opened: %s; raise the limit (systemd: LimitNOFILE)", exc.strerror
                )
            self._lacks_files = True
        else:
            self._lacks_files = False


def _ignore(number: signal.Signals) -> None:
    logger.info("%s ignored", signal.Signals(number).name)

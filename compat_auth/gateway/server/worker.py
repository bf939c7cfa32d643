"""A worker of `compat-auth serve`: uvicorn's server, which gives signs of life and loses no request when it stops."""

from __future__ import annotations

import asyncio
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
from compat_auth.gateway.server.worker_states import REPLICA, Phase, Stop, WorkerStates

logger = logging.getLogger("compat_auth.server")

BEAT_S = 0.5
GRACE_S = 15.0
"""How long requests under way have when a replica stops."""
HANDSHAKE_S = 0.2
"""How long a connection takes that has begun when new ones are no longer taken: a round trip."""
# A client may have sent its next request on an idle connection, which would be reset.
IDLE_LINGER_S = 1.0
# Another program would end with these.
UNUSED_SIGNALS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

_SO_ATTACH_FILTER = 26
# ldb [13] (the flags of TCP); and SYN|ACK; jeq SYN: drop, else pass. See bpf(4) and socket(7).
_DROP_SYN = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def stop_taking(listener: socket.socket) -> None:
    """Let the kernel overlook whoever asks for a connection from now on; those that it has may still be accepted.

    Who is overlooked asks again after a second, and is refused once the listener is closed: a proxy then goes to another
    replica. A listener that is closed while it takes connections resets those that nobody has accepted yet, and a proxy
    must not send a POST twice. Linux only; elsewhere it changes nothing.
    """
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415  # only a process that ends needs it

    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in _DROP_SYN))
    try:
        listener.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program))
        )
    except OSError as exc:
        logger.debug("the listener goes on until it is closed: %s", exc.strerror)


class WorkerServer(uvicorn.Server):
    """The server of one worker.

    Args:
        config: How it runs.
        states: Of all workers of the replica.
        worker: Its number among them.
        drain_s: How long connections are taken after `ready` has said that the replica stops.
        is_alone: It has no parent.
    """

    def __init__(
        self, config: ServerConfig, states: WorkerStates, worker: int, *, drain_s: float, is_alone: bool = False
    ) -> None:
        super().__init__(config)
        self._bounds = config.bounds
        self._states = states
        self._worker = worker
        self._drain_s = drain_s
        self._is_alone = is_alone
        self._phase = Phase.STARTING
        self._lacks_files = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and give signs of life from then on."""
        loop = asyncio.get_running_loop()
        for number in UNUSED_SIGNALS:
            loop.add_signal_handler(number, _overlook, number)
        await super().startup(sockets)
        self.lifespan.state[REPLICA] = self._states
        self._phase = Phase.SERVING
        self._beat()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; how quickly is the parent's to say, which hears every signal that a terminal or a service manager sends."""
        del sig, frame
        if self._is_alone and self.should_exit:
            self._states.stop = Stop.NOW
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether it is time to stop."""
        return await super().on_tick(counter) or self._states.stop is not Stop.NOT

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take leave of every client: none that has a connection goes without an answer."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._enter(Phase.STOPPING)
        self._bounds.stopping = True
        for connection in self._connections():
            connection.take_leave()
        await self._wait(self._drain_s, unless=Stop.SOON)
        await self._close_listeners(sockets or [])
        deadline = loop.time() + GRACE_S
        while self._is_busy() and loop.time() < deadline and self._states.stop is not Stop.NOW:
            self._end_idle(stopping_since=began)
            await asyncio.sleep(0.05)
        await self._end_what_waits()
        await self.lifespan.shutdown()

    async def _close_listeners(self, sockets: list[socket.socket]) -> None:
        for listener in sockets:
            stop_taking(listener)
        await self._wait(HANDSHAKE_S, unless=Stop.NOW)
        for listener in sockets:
            await self._accept_all(listener)
        for server in self.servers:
            server.close()
        for listener in sockets:
            listener.close()
        self._enter(Phase.CLOSED)

    async def _accept_all(self, listener: socket.socket) -> None:
        """Take the connections that the kernel has accepted, however late this process is."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                # Nobody waits, or another process has closed the listener for all.
                return
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> StrictProtocol:
        return StrictProtocol(self.config, self.server_state, self.lifespan.state)

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

    async def _end_what_waits(self) -> None:
        waiting = self._connections()
        if waiting:
            logger.warning("%d connections are ended: what they wait for took too long", len(waiting))
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
        self._look_at_files()
        asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def _look_at_files(self) -> None:
        """Say that no file can be opened: the event loop does not, and closes what it accepts."""
        try:
            os.close(os.dup(2))
        except OSError as exc:
            if not self._lacks_files:
                logger.error(  # noqa: TRY400  # there is nothing more to say
                    "no connection can be accepted or made: %s; raise the limit (systemd: LimitNOFILE)", exc.strerror
                )
            self._lacks_files = True
        else:
            self._lacks_files = False


def _overlook(number: signal.Signals) -> None:
    logger.info("%s is overlooked", signal.Signals(number).name)

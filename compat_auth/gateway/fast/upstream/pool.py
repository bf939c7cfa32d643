"""The connections of the fast path to the upstream: the one used last is used next, and old ones are closed."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from compat_auth.config import UpstreamSettings
from compat_auth.errors import CompatAuthError, UpstreamTimeout
from compat_auth.gateway.fast.upstream.connection import UpstreamConnection
from compat_auth.gateway.fast.upstream.errand import Client, Errand

MAX_CONNECTIONS = 1024
"""Connections of one process; requests beyond them take the ordinary way."""
_MIN_SWEEP_S, _MAX_SWEEP_S = 0.05, 0.5


class UpstreamPool:
    """For one event loop.

    Args:
        settings: The upstream's URL, `http://`, and its time limits.
        most: Connections in all.

    Attributes:
        head_timeout_s: Seconds to wait for the first byte of an answer.
        body_timeout_s: Longest pause within an answer.
        idle_s: Seconds for which an idle connection is kept.
    """

    def __init__(self, settings: UpstreamSettings, *, most: int = MAX_CONNECTIONS) -> None:
        url = urlsplit(settings.url)
        self._host, self._port = url.hostname or "", url.port or 80
        self.most = most
        self._connect_timeout_s = settings.connect_timeout_s
        self.head_timeout_s = settings.timeout_s
        self.body_timeout_s = settings.idle_timeout_s
        self.idle_s = settings.keepalive_s
        shortest = min(settings.timeout_s, settings.idle_timeout_s, settings.keepalive_s or _MAX_SWEEP_S)
        self._sweep_s = min(_MAX_SWEEP_S, max(_MIN_SWEEP_S, shortest / 4))
        self._all: set[UpstreamConnection] = set()
        self._idle: list[UpstreamConnection] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False

    def now(self) -> float:
        """Return the time of the event loop's clock."""
        return 0.0 if self._loop is None else self._loop.time()

    @property
    def is_full(self) -> bool:
        """Whether there is no connection for another request."""
        return self._is_closed or (not self._idle and len(self._all) >= self.most)

    def states(self) -> dict[str, int]:
        """Return how many connections there are, by state."""
        return {"idle": len(self._idle), "busy": len(self._all) - len(self._idle)}

    @property
    def is_idle(self) -> bool:
        """Whether no request is on its way."""
        return not any(connection.is_busy for connection in self._all)

    def send(self, client: Client, errand: Errand) -> UpstreamConnection:
        """Send a request, on a kept connection or a new one."""
        while self._idle:
            kept = self._idle.pop()
            if kept.is_fit:
                kept.assign(client, errand)
                return kept
            kept.abandon()
        loop = self._loop = asyncio.get_running_loop()
        connection = UpstreamConnection(self)
        self._all.add(connection)
        connection.assign(client, errand)
        task = loop.create_task(self._connect(loop, connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._sweep_s, self._sweep)
        return connection

    def take_back(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next request."""
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """Forget a connection that has ended."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        """Close all connections; none is opened any more."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for task in self._connecting:
            task.cancel()
        for connection in list(self._all):
            connection.abandon()

    async def _connect(self, loop: asyncio.AbstractEventLoop, connection: UpstreamConnection) -> None:
        failure: CompatAuthError | None = None
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await loop.create_connection(lambda: connection, self._host, self._port)
        except TimeoutError:
            failure = UpstreamTimeout("upstream: no answer in time")
        except OSError:
            # The ASGI application tries again, and says why it fails.
            failure = None
        else:
            return
        connection.fail_to_connect(failure)

    def _sweep(self) -> None:
        loop = self._loop
        self._sweeper = None
        if loop is None or self._is_closed:
            return
        now = loop.time()
        for connection in [one for one in self._all if now > one.deadline]:
            connection.give_up()
        if self._all:
            self._sweeper = loop.call_later(self._sweep_s, self._sweep)

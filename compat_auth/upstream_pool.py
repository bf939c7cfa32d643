"""Connections to the upstream, kept for the next request."""

from __future__ import annotations

import asyncio
import logging
import ssl
from urllib.parse import SplitResult, urlsplit

from compat_auth.config import UpstreamSettings
from compat_auth.errors import ConfigError, UpstreamTimeout, UpstreamUnreachable
from compat_auth.upstream_connection import Body, Patience, UpstreamConnection

logger = logging.getLogger(__name__)

# Shorter than most servers keep an idle connection, so that they are seldom the first to end it.
_KEEP_S = 15.0
# RFC 9110 section 9.2.2: what may be sent again when nobody knows whether it has arrived.
_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))


class UpstreamPool:
    """The connections of one process to one upstream; one event loop.

    Args:
        settings: Where the upstream is and how long it may take.

    Raises:
        ConfigError: The URL is not one of a server.
    """

    def __init__(self, settings: UpstreamSettings) -> None:
        url = _read_url(settings.url)
        self.origin = f"{url.scheme}://{url.netloc}"
        self.path = url.path.rstrip("/").encode("ascii")
        self._host = url.hostname or ""
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._is_tls = url.scheme == "https"
        self._verify = settings.verify
        self._tls: ssl.SSLContext | None = None
        self._connect_timeout_s = settings.connect_timeout_s
        self._patience = Patience(settings.timeout_s, settings.idle_timeout_s)
        self._idle: list[UpstreamConnection] = []
        self._sweeper: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Read the certificate authorities.

        Raises:
            ConfigError: They cannot be read.
        """
        if self._is_tls and self._tls is None:
            self._tls = _tls_context(self._verify)

    async def ask(self, method: str, head: bytes, body: Body) -> UpstreamConnection:
        """Send a request; return the connection once the head of the answer is there. The caller releases it.

        Raises:
            UpstreamUnreachable, UpstreamTimeout: There is no connection, or no answer.
        """
        kept = self._take()
        if kept is not None:
            try:
                return await self._ask_on(kept, method, head, body)
            except UpstreamUnreachable:
                # The upstream has ended it just when we sent: not a failure, unless the request may have been heard.
                if kept.was_heard or method not in _IDEMPOTENT or not isinstance(body, bytes):
                    raise
        return await self._ask_on(await self.connect(), method, head, body)

    async def connect(self) -> UpstreamConnection:
        """Return a new connection.

        Raises:
            UpstreamUnreachable, UpstreamTimeout: There is none to be had.
        """
        self.open()
        connecting = asyncio.get_running_loop().create_connection(
            lambda: UpstreamConnection(self._patience, self._keep), self._host, self._port, ssl=self._tls
        )
        try:
            _, connection = await asyncio.wait_for(connecting, self._connect_timeout_s)
        except (TimeoutError, asyncio.TimeoutError) as exc:
            raise UpstreamTimeout(f"upstream {self.origin}: no connection in time") from exc
        except OSError as exc:
            logger.warning("upstream %s: %s", self.origin, exc)
            raise UpstreamUnreachable(f"upstream {self.origin}: no connection") from exc
        return connection

    def close(self) -> None:
        """End the connections that are kept."""
        while self._idle:
            self._idle.pop().end()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    async def _ask_on(self, connection: UpstreamConnection, method: str, head: bytes, body: Body) -> UpstreamConnection:
        try:
            await connection.ask(method, head, body)
        except BaseException:
            connection.release()
            raise
        return connection

    def _take(self) -> UpstreamConnection | None:
        while self._idle:
            # The last one released: the others can go when there are more than the load needs.
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    def _keep(self, connection: UpstreamConnection) -> None:
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(_KEEP_S, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time() - _KEEP_S
        for connection in self._idle:
            if connection.freed_at <= since:
                connection.end()
        self._idle = [connection for connection in self._idle if connection.is_open]
        self._sweeper = loop.call_later(_KEEP_S / 3, self._sweep) if self._idle else None


def _read_url(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        proper = url.scheme in ("http", "https") and url.hostname and (url.port is None or url.port > 0)
    except ValueError:
        proper, url = False, urlsplit("")
    if not proper or url.query or url.username is not None or url.fragment or not text.isascii():
        # Not repeated: it may hold a password.
        raise ConfigError("upstream.url: not an address such as http://127.0.0.1:8080, without user, query or fragment")
    return url


def _tls_context(verify: bool | str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    except OSError as exc:
        raise ConfigError(f"upstream.verify: {verify}: cannot be read ({exc}); name a file of CA certificates") from exc
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

"""A streaming reverse proxy to the upstream, as an ASGI application.

Bodies pass in both directions without being buffered; hop-by-hop headers are not forwarded (RFC 9110 section 7.6.1);
redirects, compressed bodies and cookies pass unchanged. When the client disconnects, the call to the upstream ends.
When the upstream disconnects within a body, so does the connection to the client: it cannot mistake half for the whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from compat_auth.config import UpstreamSettings
from compat_auth.config.upstream_url import read_address
from compat_auth.crypto.file_modes import refuse_writable_at
from compat_auth.errors import (
    BadRequest,
    CompatAuthError,
    ConfigError,
    NotImplementedHere,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from compat_auth.gateway.forwarding import FAILED, FROM_UPSTREAM, INTAKE, RENEW
from compat_auth.gateway.proxy.header_rules import (
    HOP_BY_HOP,
    REPLAYABLE_BYTES,
    answer_headers,
    forwarded_headers,
    nominated,
)
from compat_auth.gateway.proxy.upstream_connection import (
    StaleConnection,
    UpstreamRequest,
    UpstreamResponse,
    header_text,
)
from compat_auth.http.asgi import ClientGone, ClientWatch, RawHeaders, Receive, Scope, Send, body_parts
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.request import GateRequest
from compat_auth.telemetry import counts
from compat_auth.telemetry.tracing import OPTIONS
from compat_auth.tokens.upstream_refusals import MAX_REFUSAL_BYTES, may_have_ended, says_refused

logger = logging.getLogger("compat_auth.proxy")

Renew = Callable[[], Awaitable["bytes | None"]]
Body = bytes | AsyncIterator[bytes]
"""A request body: held when small, else a stream that can be read once."""


class ReverseProxy:
    """The ASGI application that calls the upstream.

    Args:
        settings: The upstream's URL and its time limits.
        trusted: Proxies whose forward headers are passed on.

    Raises:
        ConfigError: The URL is malformed, or others may write to the CA file.
    """

    def __init__(self, settings: UpstreamSettings, trusted: TrustedProxies) -> None:
        read_address(settings.url)
        if isinstance(settings.verify, str):
            refuse_writable_at(Path(settings.verify))
        self._base = settings.url.rstrip("/")
        self._settings = settings
        self._trusted = trusted
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one request, and its answer.

        Raises:
            UpstreamUnreachable, UpstreamTimeout: Before any part of the answer was sent.
        """
        failures: list[CompatAuthError] = scope["extensions"].get(FAILED, [])
        if failures:
            raise failures.pop()
        request: GateRequest = scope["extensions"][INTAKE]
        renew: Renew | None = scope["extensions"][RENEW]
        headers = self._request_headers(scope, request)
        target = request.path + (b"?" + request.query if request.query else b"")
        url = URL(self._base + target.decode("ascii"), encoded=True)
        watch = ClientWatch(receive)
        try:
            chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
            body = await self._take_body(headers.get("Content-Length"), chunked, receive, watch)
            response = await self._call(request.method, url, headers, body)
            try:
                held = b""
                if renew is not None and isinstance(body, bytes):
                    refused, held = await _refuses_token(response, headers["Authorization"].encode("ascii"))
                    if refused and (authorization := await renew()) is not None:
                        response.close()
                        headers["Authorization"] = authorization.decode("ascii")
                        response, held = await self._call(request.method, url, headers, body), b""
                await self._pass_back(response, held, send)
            finally:
                # Also when no other token came because the client has gone or a source is down.
                response.close()
        except ClientGone:
            return
        except asyncio.CancelledError:
            if watch.gone:
                return
            raise
        finally:
            watch.stop()

    async def open(self) -> None:
        """Open the pool of connections; call inside the event loop that will serve."""
        verify = self._settings.verify
        try:
            context = ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify
        except OSError as exc:
            raise ConfigError(f"upstream.verify: {verify}: no CA file that can be read ({exc})") from exc
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, ssl=context, keepalive_timeout=self._settings.keepalive_s, ttl_dns_cache=30
            ),
            request_class=UpstreamRequest,
            response_class=UpstreamResponse,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self._settings.connect_timeout_s, sock_read=self._settings.timeout_s
            ),
            max_line_size=65536,
            max_field_size=65536,
        )

    async def require_reachable(self) -> None:
        """Check that the upstream accepts a connection.

        Raises:
            UpstreamUnreachable: It does not.
        """
        url = URL(self._base)
        try:
            connecting = asyncio.open_connection(url.host, url.port)
            _, writer = await asyncio.wait_for(connecting, self._settings.connect_timeout_s)
        except (TimeoutError, OSError) as exc:
            raise UpstreamUnreachable(
                f"upstream.url: {url.origin()} does not accept connections; is it started?"
            ) from exc
        writer.close()

    async def close(self) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()

    def _request_headers(self, scope: Scope, request: GateRequest) -> CIMultiDict[str]:
        headers: CIMultiDict[str] = CIMultiDict()
        dropped = {*HOP_BY_HOP}
        if _opens_websocket(scope):
            raise NotImplementedHere("WebSocket connections are not passed on; call the upstream directly")
        for name, value in scope["headers"]:
            if name == b"connection":
                dropped |= nominated(value)
        for name, value in scope["headers"]:
            if name not in dropped:
                headers.add(name.decode("ascii"), header_text(value))
        peer = self._trusted.peer(scope)
        scheme, is_trusted = str(scope.get("scheme", "http")), self._trusted.covers(peer)
        for name, value in forwarded_headers(peer, scheme, request.intake, is_trusted=is_trusted):
            headers[name.decode("ascii")] = header_text(value)
        return headers

    async def _take_body(self, length: str | None, chunked: bool, receive: Receive, watch: ClientWatch) -> Body:
        if length is None and not chunked:
            watch.start()
            return b""
        if length is not None and not (length.isascii() and length.isdigit()):
            raise BadRequest("Content-Length: not a number")
        if length is not None and int(length) <= REPLAYABLE_BYTES:
            held = b"".join([part async for part in body_parts(receive)])
            watch.start()
            return held
        return body_parts(receive, watch.start)

    async def _call(self, method: str, url: URL, headers: CIMultiDict[str], body: Body) -> aiohttp.ClientResponse:
        tracer = OPTIONS.tracer
        if tracer is None:
            return await self._send(method, url, headers, body)
        path = url.raw_path.encode("ascii")
        with tracer.upstream(method, url.host or "", url.port, path, headers) as span:
            response = await self._send(method, url, headers, body)
            tracer.set_response(span, response.status)
            return response

    async def _send(self, method: str, url: URL, headers: CIMultiDict[str], body: Body) -> aiohttp.ClientResponse:
        if self._session is None:
            await self.open()
        session = self._session
        if session is None:
            raise UpstreamUnreachable("the pool of connections is closed")
        only_once = (_only_once,) if method == "DELETE" else None
        began = time.perf_counter()
        try:
            while True:
                # Those that have ended leave the pool. Nothing was sent on them, so any request may be sent again.
                with contextlib.suppress(StaleConnection):
                    response = await session.request(
                        method, url, headers=headers, data=body or None, allow_redirects=False, middlewares=only_once
                    )
                    counts.UPSTREAM.observe(time.perf_counter() - began)
                    counts.UPSTREAM_ANSWERS.count(response.status)
                    return response
        except (TimeoutError, aiohttp.ConnectionTimeoutError) as exc:
            counts.upstream_failures.add("timeout")
            raise UpstreamTimeout("upstream: no answer in time") from exc
        except aiohttp.ClientError as exc:
            counts.upstream_failures.add("unreachable")
            logger.warning("upstream %s: %s", url.origin(), _reason(exc))
            raise UpstreamUnreachable("upstream: no connection, or no whole answer") from exc

    async def _pass_back(self, response: aiohttp.ClientResponse, held: bytes, send: Send) -> None:
        headers = answer_headers(response.status, [*response.raw_headers])
        if headers is None:
            raise UpstreamUnreachable("upstream: an answer that HTTP does not know")
        start = {"type": "http.response.start", "status": response.status, "headers": headers, FROM_UPSTREAM: True}
        await send(start)
        connection = response.connection
        if connection is not None and connection.protocol is not None:
            connection.protocol.read_timeout = self._settings.idle_timeout_s
            # The timer for the first byte is still running.
            connection.protocol.start_timeout()
        try:
            if held:
                await send({"type": "http.response.body", "body": held, "more_body": True})
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except (TimeoutError, aiohttp.ClientError) as exc:
            # The answer has begun: leaving it unfinished makes the server close the connection.
            counts.upstream_failures.add("broke off")
            logger.warning("upstream: answer broke off: %s", type(exc).__name__)
            return
        await send({"type": "http.response.body", "body": b""})


def _opens_websocket(scope: Scope) -> bool:
    """Return whether a request is a WebSocket handshake (RFC 6455 section 4.1).

    Its client cannot continue without an answer to that. We support no other upgrade, and
    then treat the request like all others (RFC 9110 section 7.8).
    """
    if scope["method"] != "GET" or scope.get("http_version") == "1.0":
        return False
    headers: RawHeaders = scope["headers"]
    if any(name in (b"content-length", b"transfer-encoding") for name, _ in headers):
        return False
    upgrades = any(name == b"connection" and b"upgrade" in nominated(value) for name, value in headers)
    return upgrades and any(name == b"upgrade" and value.strip().lower() == b"websocket" for name, value in headers)


def _reason(error: aiohttp.ClientError) -> str:
    """Return why a call failed, without the data that was sent or received: the query and cookies may hold secrets."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {error.os_error.strerror or type(error.os_error).__name__}"
    return type(error).__name__


async def _only_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a DELETE once: the library would send it again when its answer is lost, and 404 would hide that it is done."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        raise aiohttp.ClientConnectionError(str(exc)) from exc


async def _refuses_token(response: aiohttp.ClientResponse, bearer: bytes) -> tuple[bool, bytes]:
    """Return whether the upstream has refused the token (not the caller's permission), and the bytes read to find out."""
    if response.status == 401:
        return True, b""
    if response.status != 403 or (response.content_length or 0) > MAX_REFUSAL_BYTES:
        return False, b""
    body = b""
    try:
        # Without a length, too: behind some of Airflow's middlewares it is compressed while it is sent.
        while len(body) <= MAX_REFUSAL_BYTES and (part := await response.content.read(MAX_REFUSAL_BYTES)):
            body += part
    except TimeoutError as exc:
        raise UpstreamTimeout("upstream: its refusal did not end in time") from exc
    except aiohttp.ClientError as exc:
        raise UpstreamUnreachable("upstream: its refusal broke off") from exc
    if not body or len(body) > MAX_REFUSAL_BYTES:
        return False, body
    encoding = response.headers.get("Content-Encoding", "").encode("latin-1", "replace")
    return says_refused(body, encoding) or may_have_ended(bearer, time.time()), body

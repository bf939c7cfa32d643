"""A streaming reverse proxy to the upstream, as an ASGI application.

Bodies pass in both directions without being held; what is hop-by-hop stays on its hop (RFC 9110 section 7.6.1);
redirects, compressed bodies and cookies pass as they are. When the client goes, the call to the upstream ends, and
when the upstream goes in the middle of a body, so does the connection to the client: nobody takes half for whole.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from compat_auth.asgi import RawHeaders, Receive, Scope, Send
from compat_auth.config import UpstreamSettings
from compat_auth.errors import BadRequest, NotImplementedHere, UpstreamError, UpstreamUnreachable
from compat_auth.gate import INTAKE, RENEW
from compat_auth.request import GateRequest
from compat_auth.trust import TrustedProxies
from compat_auth.upstream_connection import Body, UpstreamConnection
from compat_auth.upstream_pool import UpstreamPool

logger = logging.getLogger(__name__)

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade expect http2-settings".split()
)
# A Connection header may not nominate these away: they carry the identity, or say what the body is.
_NOT_NOMINABLE = frozenset(b"authorization cookie host content-length content-type".split())
_LENGTH = frozenset((b"content-length",))
_METHODS_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
# A body up to this size is held, so that the request can be sent again with a fresh token.
_REPLAYABLE_BYTES = 64 * 1024
# What Airflow 3 answers to a token that it no longer takes (`airflow.api_fastapi.core_api.security`).
_TOKEN_REFUSED = b"Invalid JWT token"
_MAX_REFUSAL_BYTES = 4096
# Starting a task costs more than most requests take: look for a client that has gone only when an answer is slow.
_WATCH_AFTER_S = 0.05

Renew = Callable[[], Awaitable["bytes | None"]]


class ClientGone(Exception):
    """The client closed its connection; there is nobody left to answer."""


class ReverseProxy:
    """The ASGI application that calls the upstream.

    Args:
        settings: Where the upstream is and how long it may take.
        trusted: Proxies whose forward headers are passed on.
    """

    def __init__(self, settings: UpstreamSettings, trusted: TrustedProxies) -> None:
        self._pool = UpstreamPool(settings)
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on and its answer back.

        Raises:
            UpstreamUnreachable, UpstreamTimeout: Before any part of the answer was sent.
        """
        request: GateRequest = scope["extensions"][INTAKE]
        renew: Renew | None = scope["extensions"][RENEW]
        headers = self._request_headers(scope, request)
        watch = _ClientWatch(receive)
        try:
            body = await self._take_body(headers, receive, watch)
            answer, held = await self._ask(request, headers, body, renew)
            try:
                await _pass_back(answer, held, send)
            finally:
                answer.release()
        except ClientGone:
            return
        except asyncio.CancelledError:
            if watch.gone:
                return
            raise
        finally:
            watch.stop()

    async def open(self) -> None:
        """Read what the connections will need, so that what is wrong with it ends the start.

        Raises:
            ConfigError: The certificate authorities cannot be read.
        """
        self._pool.open()

    async def require_reachable(self) -> None:
        """Return when the upstream accepts a connection.

        Raises:
            UpstreamUnreachable: It does not.
        """
        try:
            (await self._pool.connect()).end()
        except UpstreamError as exc:
            raise UpstreamUnreachable(
                f"upstream.url: {self._pool.origin} does not accept connections; is it started?"
            ) from exc

    async def close(self) -> None:
        """Close the pool."""
        self._pool.close()

    async def _ask(
        self, request: GateRequest, headers: RawHeaders, body: Body, renew: Renew | None
    ) -> tuple[UpstreamConnection, bytes]:
        """Return the answer and what was read of its body; a refused token is replaced and asked with once."""
        answer = await self._pool.ask(request.method, self._head(request, headers), body)
        if renew is None or not isinstance(body, bytes):
            return answer, b""
        try:
            refused, held = await _refuses_token(answer)
            authorization = await renew() if refused else None
        except BaseException:
            answer.release()
            raise
        if authorization is None:
            return answer, held
        # Exactly once, and before another is asked for: a connection that is free belongs to the next request.
        answer.release()
        headers = [header for header in headers if header[0] != b"authorization"]
        headers.append((b"authorization", authorization))
        return await self._pool.ask(request.method, self._head(request, headers), body), b""

    def _head(self, request: GateRequest, headers: RawHeaders) -> bytes:
        """Return the request line and the headers on the wire; the gate has refused what could break a line."""
        query = b"?" + request.query if request.query else b""
        parts = [request.method.encode("ascii"), b" ", self._pool.path, request.path, query, b" HTTP/1.1\r\n"]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n")
        return b"".join(parts)

    def _request_headers(self, scope: Scope, request: GateRequest) -> RawHeaders:
        received: RawHeaders = scope["headers"]
        fields = dict(received)
        dropped = _HOP_BY_HOP
        if b"connection" in fields:
            dropped = dropped.union(*(_nominated(value) for name, value in received if name == b"connection"))
        if b"upgrade" in fields and any(
            name == b"upgrade" and value.lower() == b"websocket" for name, value in received
        ):
            raise NotImplementedHere("WebSocket connections are not passed on; call the upstream directly")
        headers = [header for header in received if header[0] not in dropped]
        if b"transfer-encoding" in fields:
            headers.append((b"transfer-encoding", b"chunked"))
        elif b"content-length" not in fields and request.method in _METHODS_WITH_BODY:
            # RFC 9110 section 8.6: no body, and said so.
            headers.append((b"content-length", b"0"))
        peer = self._trusted.peer(scope)
        forward = request.intake.forward if self._trusted.covers(peer) else {}
        headers.append((b"x-forwarded-for", b", ".join((*forward.get(b"x-forwarded-for", ()), peer.encode("ascii")))))
        for name, own in (
            (b"x-forwarded-proto", str(scope.get("scheme", "http")).encode("ascii")),
            (b"x-forwarded-host", request.intake.host),
        ):
            headers.append((name, forward[name][-1] if name in forward else own))
        return headers

    async def _take_body(self, headers: RawHeaders, receive: Receive, watch: _ClientWatch) -> Body:
        framing = dict(headers)
        length = framing.get(b"content-length")
        if length is None and b"transfer-encoding" not in framing:
            watch.start()
            return b""
        if length is not None and not length.isdigit():
            raise BadRequest("Content-Length: not a number")
        if length is not None and int(length) <= _REPLAYABLE_BYTES:
            held = b"".join([part async for part in _parts(receive)]) if int(length) else b""
            watch.start()
            return held
        return _parts(receive, watch.start)


async def _pass_back(answer: UpstreamConnection, held: bytes, send: Send) -> None:
    dropped = _HOP_BY_HOP
    for name, value in answer.headers:
        if name == b"connection":
            dropped = dropped | _nominated(value)
    if answer.status == 304:
        # It names the length that a 200 would have had (RFC 9110 section 8.6); the server would wait for that body.
        dropped = dropped | _LENGTH
    headers = [header for header in answer.headers if header[0] not in dropped]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    answer.allow_pauses()
    try:
        if held:
            await send({"type": "http.response.body", "body": held, "more_body": True})
        more = True
        while more:
            part, more = await answer.read()
            await send({"type": "http.response.body", "body": part, "more_body": more})
    except UpstreamError as exc:
        # The answer has begun: leaving it unfinished makes the server close the connection.
        logger.warning("upstream: answer broke off: %s", exc)


def _nominated(value: bytes) -> frozenset[bytes]:
    return frozenset(name.strip().lower() for name in value.split(b",")) - _NOT_NOMINABLE


async def _parts(receive: Receive, at_end: Callable[[], None] | None = None) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        more = message.get("more_body", False)
        if message.get("body"):
            yield message["body"]
    if at_end is not None:
        at_end()


async def _refuses_token(answer: UpstreamConnection) -> tuple[bool, bytes]:
    """Return whether the upstream has refused the token (not the caller's permission), and what was read to know."""
    if answer.status == 401:
        return True, b""
    if answer.status != 403 or not 0 < int(dict(answer.headers).get(b"content-length", b"0")) <= _MAX_REFUSAL_BYTES:
        return False, b""
    body, more = await answer.read()
    while more:
        part, more = await answer.read()
        body += part
    return _TOKEN_REFUSED in body, body


class _ClientWatch:
    """Ends the request's task when its client goes while the upstream is slow."""

    def __init__(self, receive: Receive) -> None:
        self.gone = False
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(self._loop)
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start watching; the request's body must have been read."""
        self._timer = self._loop.call_later(_WATCH_AFTER_S, self._look)

    def _look(self) -> None:
        self._watcher = asyncio.ensure_future(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self._task is not None:
            self._task.cancel()

    def stop(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

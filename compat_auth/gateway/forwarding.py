"""Forwards a request with one identity: our Bearer, the upstream's own Bearer, its own cookie, or none."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_to_bytes

from compat_auth.crypto.personal_token_format import holds_one
from compat_auth.gateway.authorization import Authorization, Authorize
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Granted, Unclaimed, notices_of
from compat_auth.http.asgi import ASGIApp, RawHeaders, Receive, Send
from compat_auth.http.browser.preflight import NoBody, PreflightAnswer
from compat_auth.http.headers import without_cookies
from compat_auth.http.request import GateRequest
from compat_auth.stages.of_app import SINGLE
from compat_auth.telemetry.request_ids import HEADER as REQUEST_ID
from compat_auth.tokens.upstream_refusals import watch_for_refusal

RENEW = "compat_auth.renew"
"""Key in the ASGI scope's `extensions`: `async () -> bytes | None`, a new Authorization value for a refused one."""
INTAKE = "compat_auth.intake"
"""Key in the ASGI scope's `extensions`: the `GateRequest`, for the application behind the gate."""
AUTHORIZE = "compat_auth.demand"
"""Key in the ASGI scope's `extensions`: an `Authorize`; missing when the caller was not identified."""
FAILED = "compat_auth.failed"
"""Key in the ASGI scope's `extensions`: a list with the error of an attempt that must not be repeated, else empty."""
FROM_UPSTREAM = "compat_auth.from_upstream"
"""Key in the message that starts an answer: true if its headers are those of the upstream."""

_SINGLE = frozenset(name.lower().encode("ascii") for name in SINGLE)
# At the start, or behind the comma with which servers join two headers.
_OUR_SCHEME = re.compile(rb"(?:^|[ \t,])(?:basic|negotiate)(?![^ \t,])", re.IGNORECASE)


class Forwarding:
    """Forwards requests to the application behind the gate.

    Args:
        app: The application behind the gate.
        authorization: For the application, to ask what else the caller may do.
        decider: Renews tokens that the upstream refuses.
        upstream: The application without a translation in between: it knows the CORS settings; None: `app`.
    """

    def __init__(
        self, app: ASGIApp, authorization: Authorization, decider: Decider, upstream: ASGIApp | None = None
    ) -> None:
        self.app = app
        self.authorization = authorization
        self._rules = authorization.rules
        self._dropped = authorization.rules.dropped_cookies
        self._decider = decider
        self._upstream = upstream or app

    async def as_caller(self, granted: Granted, request: GateRequest, receive: Receive, send: Send) -> None:
        """Forward a request as the caller."""

        async def renew() -> bytes | None:
            renewed = await self._decider.renew(request.presented(), granted)
            return renewed.bearer if renewed is not None else None

        if granted.headers:
            send = adding(granted.headers, send)
        send = announcing(notices_of(granted), send)
        bearer = self._rules.bearer_for(request.path, granted)
        authorize = self.authorization.authorize(granted, request)
        if bearer is None:
            await self._forward(request, receive, send, None, self._dropped, authorize=authorize)
        else:
            send = watch_for_refusal(send, bearer, lambda: self._decider.forget_token(granted))
            await self._forward(request, receive, send, bearer, self._dropped, renew, authorize)

    async def with_own_credential(
        self, unclaimed: Unclaimed, request: GateRequest, receive: Receive, send: Send
    ) -> None:
        """Forward a request with its own credential, which the upstream checks."""
        authorize = self.authorization.authorize(unclaimed, request)
        own = request.intake.authorization
        send = announcing(notices_of(unclaimed), send)
        await self._forward(request, receive, send, own, self._rules.own_cookies, authorize=authorize)

    async def without_credentials(self, request: GateRequest, receive: Receive, send: Send) -> None:
        """Forward a request without credentials (public endpoints)."""
        await self._forward(request, receive, send, None, self._dropped)

    async def preflight(self, request: GateRequest, receive: Receive, send: Send) -> None:
        """Forward a CORS preflight to the upstream itself, also about a path that is translated here."""
        # A preflight has no cookies.
        request = replace(request, intake=replace(request.intake, cookies=[]))
        await self._forward(request, receive, send, None, frozenset(), to=self._upstream)

    async def unprotected(self, request: GateRequest, receive: Receive, send: Send, *, is_cookie_revoked: bool) -> None:
        """Forward a request for a path that needs no decision, without the credentials that are for us alone."""
        own, dropped = authorization_without_ours(request), self._rules.dropped_unprotected(is_cookie_revoked)
        await self._forward(request, receive, send, own, dropped)

    async def ask(self, request: GateRequest, method: str, headers: RawHeaders) -> PreflightAnswer:
        """Return the upstream's answer to a request for the same path that has only these headers."""
        intake = replace(request.intake, kept=headers, authorization=None, cookies=[])
        asked = replace(request, scope={**request.scope, "method": method}, intake=intake, method=method)
        answer = PreflightAnswer()
        await self._forward(asked, NoBody(), answer.send, None, frozenset(), to=self.cors_of(request))
        return answer

    def cors_of(self, request: GateRequest) -> ASGIApp:
        """Return the application that knows the upstream's CORS settings."""
        del request
        return self._upstream

    async def _forward(
        self,
        request: GateRequest,
        receive: Receive,
        send: Send,
        authorization: bytes | None,
        dropped: frozenset[bytes],
        renew: Callable[[], Awaitable[bytes | None]] | None = None,
        authorize: Authorize | None = None,
        to: ASGIApp | None = None,
    ) -> None:
        headers: RawHeaders = [*request.intake.kept]
        if request.intake.host:
            headers.insert(0, (b"host", request.intake.host))
        if request.request_id:
            headers.append((REQUEST_ID, request.request_id))
        if authorization is not None:
            headers.append((b"authorization", authorization))
        if request.intake.cookies:
            headers.extend((b"cookie", value) for value in without_cookies(request.intake.cookies, dropped))
        scope = dict(request.scope)
        scope["headers"] = headers
        if request.path != scope["raw_path"]:
            scope["raw_path"] = request.path
            scope["path"] = unquote_to_bytes(request.path).decode("utf-8")
        scope["query_string"] = request.query
        scope["extensions"] = {**(scope.get("extensions") or {}), RENEW: renew, INTAKE: request, AUTHORIZE: authorize}
        await (to or self.app)(scope, receive, send)


def authorization_without_ours(request: GateRequest) -> bytes | None:
    """Return the Authorization value with which a request is forwarded that needs no known caller.

    Passwords and tickets are for us alone, and a personal token means nothing to the upstream, which might mistake it
    for a password. Malformed ones are removed too: the next reader may be less strict than we are.
    """
    authorization = request.intake.authorization
    if authorization is None:
        return None
    return None if _OUR_SCHEME.search(authorization) or holds_one(authorization) else authorization


def announcing(notices: tuple[tuple[bytes, bytes], ...], send: Send) -> Send:
    """Return a `send` that adds the announcement of a login's end; it replaces another announcement of the answer."""
    if not notices:
        return send
    # RFC 9745 and RFC 8594: each of them is one value. Links add up.
    replaced = frozenset(name for name, _ in notices) & _SINGLE

    async def send_with_notices(message: Any) -> None:
        if message["type"] == "http.response.start":
            kept = [header for header in message["headers"] if header[0].lower() not in replaced]
            message = {**message, "headers": [*kept, *notices]}
        await send(message)

    return send_with_notices


def adding(extra: tuple[tuple[bytes, bytes], ...], send: Send) -> Send:
    """Return a `send` that adds headers to the answer."""

    async def send_with_headers(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return send_with_headers

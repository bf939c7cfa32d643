"""The gate inside Airflow: requests that need nothing from us pass unchanged, and Airflow still checks its own tokens.

Airflow serves some pages to everybody, its health among them, so a request without a credential goes on to it, and a
refusal that comes back gets our challenges.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

from compat_auth.airflow.body_in_doubt import DROPPED_S, asking_for_body, ending, require_body
from compat_auth.airflow.stripped_headers import StrippedHeaders
from compat_auth.credentials import Absent
from compat_auth.errors import BadRequest, CompatAuthError, InvalidPath
from compat_auth.gateway.authorization import Authorization
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Granted, Unclaimed, notices_of
from compat_auth.gateway.forwarding import AUTHORIZE, Forwarding, announcing
from compat_auth.gateway.middleware import Gate
from compat_auth.gateway.refusals import Refusals
from compat_auth.gateway.stages.gate_stages import GateStages
from compat_auth.http.asgi import ASGIApp, Receive, Scope, Send
from compat_auth.http.paths import Prefixes, canonical_path
from compat_auth.http.request import GateRequest
from compat_auth.tokens.revoked import RevokedTokens

_ROOT = "compat_auth.airflow.root"
_TASK_API = "/execution/"
# Set by Airflow's own middlewares for the views: the user that a cookie names, and that they may believe it.
_USER_STATE = frozenset(("user", "user_authenticated_via"))


class AirflowAuthorization(Authorization):
    """The authorization of a gate that has Airflow itself behind it."""

    def is_for_upstream(self, unclaimed: Unclaimed, request: GateRequest) -> bool:
        """Return whether Airflow checks the request: its JWT, its cookie, or none where nothing more is required."""
        if self.has_upstream_credential(unclaimed, request):
            return True
        return isinstance(unclaimed.credential, Absent) and next(self.rules.required_of(request), None) is None

    def has_upstream_credential(self, unclaimed: Unclaimed, request: GateRequest) -> bool:
        """Return whether a request brings Airflow's JWT or its cookie."""
        return super().is_for_upstream(unclaimed, request)


class AirflowForwarding(Forwarding):
    """Forwards requests to Airflow itself.

    Args:
        app: What stands behind the gate.
        authorization: For what stands behind, to ask what else the caller may do.
        decider: Renews tokens that Airflow refuses.
        refusals: Knows the challenges of a 401.
    """

    def __init__(self, app: ASGIApp, authorization: AirflowAuthorization, decider: Decider, refusals: Refusals) -> None:
        super().__init__(app, authorization, decider)
        self._refusals = refusals
        self._stripped = StrippedHeaders(authorization.rules)
        self._has_upstream_credential = authorization.has_upstream_credential

    async def with_own_credential(
        self, unclaimed: Unclaimed, request: GateRequest, receive: Receive, send: Send
    ) -> None:
        """Let Airflow answer what it was sent; a refusal for want of a credential says which ones we take."""
        send = announcing(notices_of(unclaimed), send)
        alone = isinstance(unclaimed.credential, Absent) and not self._has_upstream_credential(unclaimed, request)
        # What a page loads is Airflow's own business: its page leads to the login.
        if alone and self._refusals.context(request).caller != "script":
            send = _inviting(self._refusals.www_authenticate(unclaimed.challenges, request), send)
        scope: Scope = self._stripped.strip(request.scope)
        if not alone:
            authorize = self.authorization.authorize(unclaimed, request)
            scope = {**scope, "extensions": {**(scope.get("extensions") or {}), AUTHORIZE: authorize}}
        await self.app(scope, receive, send)

    async def as_caller(self, granted: Granted, request: GateRequest, receive: Receive, send: Send) -> None:
        """Forward the request as the caller and nobody else."""
        _forget_user(request)
        await super().as_caller(granted, request, receive, send)

    async def without_credentials(self, request: GateRequest, receive: Receive, send: Send) -> None:
        """Forward a request as nobody's."""
        _forget_user(request)
        await super().without_credentials(request, receive, send)

    async def unprotected(self, request: GateRequest, receive: Receive, send: Send, *, is_cookie_revoked: bool) -> None:
        """Forward a request for a path that needs no decision; a revoked cookie names nobody."""
        if is_cookie_revoked:
            _forget_user(request)
        await super().unprotected(request, receive, send, is_cookie_revoked=is_cookie_revoked)

    def cors_of(self, request: GateRequest) -> ASGIApp:
        """Return the whole of Airflow's application: its CORS middleware stands before the gate."""
        app: ASGIApp | None = request.scope.get("app")
        return self.app if app is None else behind_root(app)


def _forget_user(request: GateRequest) -> None:
    """Remove the user whom a middleware of Airflow 3.1 and 3.2 has read from a cookie: views prefer it to a token."""
    state = {name: value for name, value in request.scope.get("state", {}).items() if name not in _USER_STATE}
    request.scope = {**request.scope, "state": state}


class Guarded:
    """The requests that are the gate's business; by the path that Airflow routes by, and by any careless reading of it.

    Args:
        prefixes: What is protected, and where our own pages are.
        pages: Whole paths elsewhere: our pages, and Airflow's own login and logout.
        cookies: Names of our session's cookie: a request that brings one is seen wherever it goes, but to the API of
            tasks.
    """

    def __init__(self, prefixes: Iterable[str], pages: Iterable[str] = (), cookies: Iterable[bytes] = ()) -> None:
        self._prefixes = Prefixes([*prefixes])
        self._pages = frozenset(pages)
        self._cookies = tuple(cookies)

    def cover(self, scope: Scope) -> bool:
        """Return whether the gate has to see the request."""
        path = route_path(scope)
        if self._prefixes.cover(path.encode("utf-8", "surrogatepass")) or path in self._pages:
            return True
        return bool(self._cookies) and not path.startswith(_TASK_API) and self._has_session(scope)

    def _has_session(self, scope: Scope) -> bool:
        values = [value for name, value in scope["headers"] if name == b"cookie"]
        return any(name in value for value in values for name in self._cookies)


class Lasting(Protocol):
    """A resource that begins and ends with the process."""

    def open(self) -> None:
        """Begin; called on the event loop."""
        ...

    def close(self) -> None:
        """End; may take its time."""
        ...


class AirflowMiddleware:
    """The ASGI middleware around Airflow's application.

    Args:
        app: Airflow's application.
        gate: With `behind_root(app)` behind it.
        guarded: What it has to see.
        refusals: Refuses what the gate cannot see.
        revoked: Tokens of Airflow's that are no longer good.
        lasting: What begins and ends with the process.
        stages: The stages of logins; None: there are none.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Gate,
        guarded: Guarded,
        refusals: Refusals,
        revoked: RevokedTokens,
        lasting: Iterable[Lasting],
        stages: GateStages | None = None,
    ) -> None:
        self._app = app
        self._gate = gate
        self._guarded = guarded
        self._refusals = refusals
        self._revoked = revoked
        self._stripped = StrippedHeaders(gate.rules)
        self._lasting = tuple(lasting)
        self._stages = stages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or forward one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        try:
            below = _below_root(scope) if await self._concerns(scope) else None
        except CompatAuthError as error:
            await self._refusals.send(send, error, None)
            return
        if below is None:
            await self._app(self._stripped.strip(scope), receive, send)
        elif scope["type"] == "http":
            await self._ask_gate(below, receive, send)
        else:
            await self._gate(below, receive, send)

    async def _ask_gate(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            require_body(scope)
        except BadRequest as error:
            _, send = asking_for_body(scope, receive, ending(send), DROPPED_S)
            await self._refusals.send(send, error, None)
            return
        receive, send = asking_for_body(scope, receive, send)
        await self._gate(scope, receive, send)

    async def _concerns(self, scope: Scope) -> bool:
        if self._guarded.cover(scope):
            return True
        # A task's token is Airflow's alone. Everything else takes a user's, which may have been revoked here.
        if route_path(scope).startswith(_TASK_API):
            return False
        return await self._shows_revoked(scope) or await self._is_staged(scope)

    async def _is_staged(self, scope: Scope) -> bool:
        """Return whether the gate must see a request that it does not check for its token, whose login may be staged.

        Raises:
            BackendUnavailable: Whether it is could not be asked.
        """
        if self._stages is None:
            return False
        authorizations = [value for name, value in scope["headers"] if name == b"authorization"]
        cookies = [value for name, value in scope["headers"] if name == b"cookie"]
        return await self._stages.sees(authorizations, cookies)

    async def _shows_revoked(self, scope: Scope) -> bool:
        """Return whether a request that we do not check has a revoked token.

        Raises:
            BackendUnavailable: Whether it is could not be asked.
        """
        authorizations = [value for name, value in scope["headers"] if name == b"authorization"]
        cookies = [value for name, value in scope["headers"] if name == b"cookie"]
        return bool(authorizations or cookies) and any(await self._revoked.among(authorizations, cookies))

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        for part in self._lasting:
            part.open()
        try:
            await self._app(scope, receive, send)
        finally:
            for part in self._lasting:
                await asyncio.to_thread(part.close)


def route_path(scope: Scope) -> str:
    """Return the path by which Airflow finds the route: as decoded, below `[api] base_url`'s own path."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def behind_root(app: ASGIApp) -> ASGIApp:
    """Return the application as the gate sees it, without the path of `[api] base_url`."""

    async def put_back(scope: Scope, receive: Receive, send: Send) -> None:
        root: str = scope.get(_ROOT, "")
        if root:
            scope = {**scope, "path": root + scope["path"], "raw_path": root.encode("ascii") + scope["raw_path"]}
        await app(scope, receive, send)

    return put_back


def _below_root(scope: Scope) -> Scope:
    """Return the scope with the path below `[api] base_url`'s, which the gate's own paths are about.

    Raises:
        InvalidPath: The path has more than one reading.
    """
    path = route_path(scope)
    if path == scope["path"]:
        return scope
    root: str = scope["root_path"]
    raw_root = root.encode("ascii", "replace")
    # The gate answers empty segments, below the root.
    raw_path: bytes = scope["raw_path"]
    raw_path = raw_path if b"//" in raw_path else canonical_path(raw_path)
    if not raw_path.startswith(raw_root + b"/"):
        raise InvalidPath("path: the path of [api] base_url is spelt with escapes")
    return {**scope, "path": path, "raw_path": raw_path[len(raw_root) :], _ROOT: root}


def _inviting(challenges: tuple[str, ...], send: Send) -> Send:
    async def send_with_challenges(message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] == 401:
            added = [(b"www-authenticate", challenge.encode("latin-1")) for challenge in challenges]
            message = {**message, "headers": [*message["headers"], *added]}
        await send(message)

    return send_with_challenges

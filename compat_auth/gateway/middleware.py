"""The gate: a pure ASGI middleware that reads each request, answers at our own pages, and admits or refuses all others.

The application behind it differs: a reverse proxy, a forward-auth responder, or Airflow's own application.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping

from compat_auth.audit.losses import LOSSES
from compat_auth.authn.users.acting import take_acts_for
from compat_auth.errors import CompatAuthError, NoSuchPage, NotImplementedHere, NotPermitted
from compat_auth.gateway.admission import Admission, Browsers
from compat_auth.gateway.authorization import GateRules
from compat_auth.gateway.origins import UpstreamOrigins
from compat_auth.gateway.refusals import Refusals, refuse_websocket, respond_moved
from compat_auth.gateway.telemetry.observation import Observation
from compat_auth.gateway.telemetry.usage import RequestUsage
from compat_auth.http.asgi import ASGIApp, Receive, Scope, Send
from compat_auth.http.body import BodyBudget, HeldBody
from compat_auth.http.browser.preflight import is_preflight
from compat_auth.http.forwarded import Peers, TrustedProxies, forward_headers
from compat_auth.http.headers import may_have_body, take_in
from compat_auth.http.paths import MergedPath, canonical_query, read_path
from compat_auth.http.request import GateRequest
from compat_auth.http.root_path import RootPath
from compat_auth.telemetry.access_log import shown_path

# CONNECT asks for a tunnel and TRACE echoes credentials (RFC 9110 9.3.6, 9.3.8).
REFUSED_METHODS = frozenset(("CONNECT", "TRACE"))

Page = Callable[[GateRequest, Receive, Send], Awaitable[None]]


class Gate:
    """The ASGI middleware.

    Args:
        app: The application behind the gate, for events that are neither a request nor a WebSocket.
        rules: See `GateRules`.
        admission: Answers requests for the application behind the gate.
        refusals: Refuses.
        origins: The upstream's CORS rules.
        trusted: Proxies whose headers about the caller are believed.
        pages: Our own pages, by path below the prefix; a key that begins with "/" is a whole path, and one
            that ends with "/" stands for all below it.
        bodies: Memory for bodies that a backend must see before the request is forwarded; None: no backend must.
        body_timeout_s: Seconds within which such a body must arrive.
        browsers: The treatment of browsers; None: they are treated as programs.
        root: The path in front of all paths, which neither the decisions nor the application see.
        peers: Reads what the other end of the connection says about the caller; None: no backend reads it.
        usage: Counts who uses what; None: nobody does.
    """

    def __init__(
        self,
        app: ASGIApp,
        rules: GateRules,
        admission: Admission,
        refusals: Refusals,
        origins: UpstreamOrigins,
        *,
        trusted: TrustedProxies,
        pages: Mapping[str, Page],
        bodies: BodyBudget | None,
        body_timeout_s: float,
        browsers: Browsers | None,
        root: RootPath,
        peers: Peers | None = None,
        usage: RequestUsage | None = None,
    ) -> None:
        self._app = app
        self.rules = rules
        self._admission = admission
        self._refusals = refusals
        self._origins = origins
        self._trusted = trusted
        self._pages = {path.encode(): page for path, page in whole_paths(rules.prefix.decode(), pages).items()}
        # They say how the process is, and nothing that belongs into the audit log.
        self._about_itself = frozenset(rules.prefix + name for name in (b"live", b"ready"))
        forward_auth = (path for path in self._pages if path.startswith(rules.prefix + b"forward-auth/"))
        self._open_to_actors = frozenset((rules.prefix + b"whoami", *forward_auth))
        self._trees = tuple(
            (path, page) for path, page in self._pages.items() if path.endswith(b"/") and path != rules.prefix
        )
        self.paths = frozenset(path.decode("ascii") for path in self._pages)
        """The paths of our own pages; one that ends with a slash stands for all below it."""
        self._bodies = bodies
        self._body_timeout_s = body_timeout_s
        self._browsers = browsers
        self._root = root
        self._peers = peers
        self._usage = usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or forward one ASGI connection."""
        if scope["type"] == "http":
            request: GateRequest | None = None
            observation = Observation(scope, send, is_trusted=self._may_name_ids(scope))
            send = observation.send
            try:
                request = self._take_in(scope)
                request.request_id = observation.request_id
                if self._browsers is not None:
                    send = self._browsers.leading_in(request, send)
                send = self._origins.telling(request, send)
                if self._bodies is not None and may_have_body(scope, request.intake.kept):
                    request.body = None
                    receive = request.held = HeldBody(receive, request.client, self._bodies, self._body_timeout_s)
                await self._answer(request, receive, send)
            except MergedPath as merged:
                await _respond_moved(send, scope, merged)
            except CompatAuthError as error:
                await self._refusals.send(send, error, request)
            finally:
                if request is not None and request.held is not None:
                    request.held.release()
                observation.end(request, sys.exception())
                if self._usage is not None and request is not None:
                    self._usage.count(request, observation.status)
        elif scope["type"] == "websocket":
            await refuse_websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _may_name_ids(self, scope: Scope) -> bool:
        # Most requests are from no trusted proxy, and need no search.
        trusted = self._trusted
        return trusted.covers(trusted.peer(scope)) and trusted.is_peer(scope, forward_headers(scope["headers"]))

    def _take_in(self, scope: Scope) -> GateRequest:
        try:
            path = self._root.strip(read_path(scope["raw_path"], self.rules.rests))
        except MergedPath as merged:
            # A proxy in front may have taken the path off.
            raise MergedPath(self._root.path.encode("ascii") + self._root.strip(merged.path)) from None
        # RFC 9112 3.2: from 1.1 on, a request has one. A load balancer that only wants to know how we are needs none.
        may_lack_host = scope.get("http_version") == "1.0" or path in self._about_itself or path in self.rules.health
        rules = self.rules
        intake = take_in(
            scope["headers"], may_lack_host=may_lack_host, api_key=rules.api_key, named=rules.identity_headers
        )
        if self.rules.do_as:
            take_acts_for(intake, scope["query_string"])
        if scope["method"] in REFUSED_METHODS:
            raise NotImplementedHere(f"method {scope['method']}: not implemented")
        if self._root.path:
            scope = {**scope, "root_path": self._root.path}
        query = canonical_query(scope["query_string"]) if scope["query_string"] else b""
        client, scheme = self._trusted.client(scope, intake.forward), self._trusted.scheme(scope, intake.forward)
        request = GateRequest(scope, intake, scope["method"], path, query, client, scheme)
        if intake.identity and self._trusted.is_peer(scope, intake.forward):
            request.identity_headers = intake.identity
        if self._peers is not None:
            request.peer = self._peers.of(scope, intake.identity, intake.forward)
        return request

    async def _answer(self, request: GateRequest, receive: Receive, send: Send) -> None:
        if LOSSES.is_failing and request.path not in self._about_itself:
            LOSSES.require_log()
        page = self._page_of(request)
        if page is not None:
            if request.intake.acts_for and request.path not in self._open_to_actors:
                # What is made or ended there is the user's own, and would outlast the request.
                raise NotPermitted("a caller who acts for another user has no pages of that user")
            await page(request, receive, send)
        elif request.path.startswith(self.rules.prefix):
            raise NoSuchPage(f"{shown_path(request.path)}: no such page")
        else:
            await self._admission.admit(request, receive, send)

    def _page_of(self, request: GateRequest) -> Page | None:
        path = self.rules.prefix + b"ready" if _is_plain_check(request) else request.path
        page = self._pages.get(path)
        if page is None:
            return next((page for tree, page in self._trees if request.path.startswith(tree)), None)
        # A preflight may be about a path that is the upstream's, too.
        is_shared = not request.path.startswith(self.rules.prefix) and self.rules.preflights
        return None if is_shared and is_preflight(request) else page


def whole_paths(prefix: str, pages: Mapping[str, Page]) -> dict[str, Page]:
    """Return pages by their whole path; a key that does not begin with "/" is below the prefix."""
    return {path if path.startswith("/") else prefix + path: page for path, page in pages.items()}


async def _respond_moved(send: Send, scope: Scope, merged: MergedPath) -> None:
    root: str = scope.get("root_path", "")
    # Never two slashes at the start: those would name a host (RFC 3986 section 4.2).
    path = b"/" + (root.encode("ascii", "ignore") + merged.path).lstrip(b"/")
    await respond_moved(send, path, scope["query_string"])


def _is_plain_check(request: GateRequest) -> bool:
    """Return whether this is the request of HAProxy's `option httpchk` without arguments: `OPTIONS / HTTP/1.0`."""
    return request.method == "OPTIONS" and request.path == b"/" and not request.intake.host

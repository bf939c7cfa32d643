"""The gate: a pure ASGI middleware that takes a request in, asks for a decision, and hands it on as the caller.

What stands behind it differs: a reverse proxy, a forward-auth responder, or Airflow's own application. What it hands
on has one identity: a Bearer of ours, the upstream's own Bearer, or the upstream's own cookie.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from compat_auth import audit
from compat_auth.airflow_api.permission import uncovered
from compat_auth.airflow_api.reach import MAX_BODY_BYTES, names_in_body
from compat_auth.audit.losses import LOSSES
from compat_auth.credentials import Absent, Bearer
from compat_auth.crypto.personal_token_format import holds_one, looks_like_one
from compat_auth.errors import (
    BodyTooLarge,
    CompatAuthError,
    InsufficientScope,
    InvalidPath,
    NoSuchPage,
    NotAuthenticated,
    NotImplementedHere,
    NotPermitted,
    TokenEnded,
)
from compat_auth.gateway.authorization import GateRules
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Decision, Granted, Refused, Unclaimed
from compat_auth.http.asgi import (
    ASGIApp,
    Message,
    RawHeaders,
    Receive,
    Scope,
    Send,
    read_body,
    replayed,
    respond,
    respond_rendered,
)
from compat_auth.http.body import BodyBudget, HeldBody
from compat_auth.http.browser.cors import OriginHeaders
from compat_auth.http.browser.cross_origin import (
    find_foreign_origin,
    is_added_by_browsers,
    is_allowed_by,
    preflight_for,
)
from compat_auth.http.browser.csrf import SAFE_METHODS
from compat_auth.http.browser.preflight import NoBody, PreflightAnswer, call_of, is_preflight
from compat_auth.http.challenges import ChallengeContext, caller_of, is_bearer, with_bearer
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.headers import cookie_values, has_cookie, may_have_body, take_in, without_cookies
from compat_auth.http.paths import MergedPath, canonical_query, read_path
from compat_auth.http.problem import PROBLEM_JSON, problem_body
from compat_auth.http.request import GateRequest
from compat_auth.http.root_path import RootPath
from compat_auth.tokens.denylist import Denylist
from compat_auth.tokens.upstream_refusals import watch_for_refusal

RENEW = "compat_auth.renew"
"""Key in the ASGI scope's `extensions`: `async () -> bytes | None`, another Authorization value for a refused one."""
INTAKE = "compat_auth.intake"
"""Key in the ASGI scope's `extensions`: the `GateRequest`, for what stands behind the gate."""
AUTHORIZE = "compat_auth.demand"
"""Key in the ASGI scope's `extensions`: a `Authorize`; missing when nobody has asked who the caller is."""

FROM_UPSTREAM = "compat_auth.from_upstream"
"""Key in the message that starts an answer: true where its headers are those of the upstream."""
PUBLIC_PAGE = b"/api/v2/version"
"""A page that every Airflow 3 shows to everybody."""
_ERRORS = 400

# CONNECT asks for a tunnel and TRACE echoes credentials (RFC 9110 9.3.6, 9.3.8).
REFUSED_METHODS = frozenset(("CONNECT", "TRACE"))
# At the start, or behind the comma with which servers join two headers.
_OUR_SCHEME = re.compile(rb"(?:^|[ \t,])(?:basic|negotiate)(?![^ \t,])", re.IGNORECASE)


class Browsers(Protocol):
    """What is done for browsers; see `compat_auth.browsers.visits`."""

    def leading_in(self, gate: Gate, request: GateRequest, send: Send) -> Send:
        """Return the `send` by which a browser learns where to log in."""
        ...

    async def visit(self, gate: Gate, request: GateRequest, send: Send) -> Send | None:
        """Return the `send` of a request for what stands behind; None where it is answered already."""
        ...

    async def log_out(self, gate: Gate, request: GateRequest) -> RawHeaders:
        """Return what a request for the upstream's own logout takes from its browser, once our session has ended."""
        ...


Page = Callable[["Gate", GateRequest, Receive, Send], Awaitable[None]]
Authorize = Callable[[str, bytes, bytes], None]
"""Return when the caller may also ask this of the upstream: a method, a canonical path and a body; raises NotPermitted."""


class Gate:
    """The ASGI middleware.

    Args:
        app: What stands behind.
        decider: Decides.
        rules: See GateRules.
        trusted: Proxies whose word about the caller is believed.
        pages: Our own pages, by path below the prefix; a key that begins with "/" is a whole path, and one
            that ends with "/" stands for all below it.
        denials: Tokens of the upstream's that are no longer good, and yet look so to it; None: there are none.
        metadata_url: Where a caller finds who gives tokens for what stands behind, "" where it cannot be told; None:
            nowhere.
        max_judged_body: Bytes of a body that a backend has to see before the request goes on; beyond: 413.
        browsers: What is done for browsers; None: nothing.
        root: The path in front of all paths, which decisions and what stands behind do not see.
        upstream: What stands behind without a translation in between: it knows the CORS settings; None: `app`.
        tells_origins: Our own answers repeat what the upstream says about origins, which needs an Airflow there; inside
            Airflow its own middleware does so.
    """

    def __init__(
        self,
        app: ASGIApp,
        decider: Decider,
        rules: GateRules,
        *,
        trusted: TrustedProxies,
        pages: Mapping[str, Page],
        denials: Denylist | None = None,
        metadata_url: Callable[[GateRequest], str] | None = None,
        max_judged_body: int = 1024 * 1024,
        browsers: Browsers | None = None,
        root: RootPath = RootPath(),  # noqa: B008  # nothing changes in it
        upstream: ASGIApp | None = None,
        tells_origins: bool = False,
    ) -> None:
        self.browsers = browsers
        self.behind = app
        self.root = root
        self.upstream = upstream or app
        self._origins = OriginHeaders() if tells_origins else None
        self.decider = decider
        self.rules = rules
        self.trusted = trusted
        self._pages = {
            key.encode() if key.startswith("/") else rules.prefix + key.encode(): page for key, page in pages.items()
        }
        # They say how the process is, and nothing that belongs into the audit log.
        self._about_itself = frozenset(rules.prefix + name for name in (b"live", b"ready"))
        self._trees = tuple((path, page) for path, page in self._pages.items() if path.endswith(b"/"))
        self.paths = frozenset(path.decode("ascii") for path in self._pages)
        """The paths of our own pages; one that ends with a slash stands for all below it."""
        self._challenges = decider.chain.challenges()
        self._challenges_to_bearers = (
            with_bearer(self._challenges) if rules.style.mode == "strict" else self._challenges
        )
        self._bodies = BodyBudget(max_judged_body) if decider.chain.reads_bodies() else None
        self._denials = denials
        self._metadata_url = metadata_url
        self.dropped_cookies = rules.own_cookies | frozenset(rules.identity_cookies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or hand on one ASGI connection."""
        if scope["type"] == "http":
            request: GateRequest | None = None
            try:
                request = self._take_in(scope)
                if self.browsers is not None:
                    send = self.browsers.leading_in(self, request, send)
                if self._origins is not None:
                    send = self._telling_origins(self._origins, request, send)
                if self._bodies is not None and may_have_body(scope, request.intake.kept):
                    receive = self._hold_if_asked(request, receive, self._bodies)
                await self._answer(request, receive, send)
            except MergedPath as merged:
                await _respond_moved(send, scope, merged)
            except CompatAuthError as error:
                await self.refuse(send, error, request)
            finally:
                if request is not None and request.held is not None:
                    request.held.release()
        elif scope["type"] == "websocket":
            await _refuse_websocket(scope, receive, send)
        else:
            await self.behind(scope, receive, send)

    def _take_in(self, scope: Scope) -> GateRequest:
        try:
            path = self.root.strip(read_path(scope["raw_path"], self.rules.rests))
        except MergedPath as merged:
            # A proxy in front may have taken the path off.
            raise MergedPath(self.root.path.encode("ascii") + self.root.strip(merged.path)) from None
        # RFC 9112 3.2: from 1.1 on, a request has one. A load balancer that only wants to know how we are needs none.
        may_lack_host = scope.get("http_version") == "1.0" or path in self._about_itself or path in self.rules.health
        intake = take_in(scope["headers"], may_lack_host=may_lack_host)
        if scope["method"] in REFUSED_METHODS:
            raise NotImplementedHere(f"method {scope['method']}: not spoken here")
        if self.root.path:
            scope = {**scope, "root_path": self.root.path}
        query = canonical_query(scope["query_string"]) if scope["query_string"] else b""
        client, scheme = self.trusted.client(scope, intake.forward), self.trusted.scheme(scope, intake.forward)
        request = GateRequest(scope, intake, scope["method"], path, query, client, scheme)
        if intake.identity and self.trusted.covers(self.trusted.peer(scope)):
            request.identity_headers = intake.identity
        return request

    def _hold_if_asked(self, request: GateRequest, receive: Receive, bodies: BodyBudget) -> Receive:
        request.body = None
        request.held = HeldBody(receive, request.client, bodies, self.decider.lanes.timeout_s)
        return request.held

    async def _answer(self, request: GateRequest, receive: Receive, send: Send) -> None:
        if LOSSES.is_failing and request.path not in self._about_itself:
            LOSSES.require_log()
        page = self._pages.get(self.rules.prefix + b"ready" if _is_plain_check(request) else request.path)
        if page is not None and self._asks_upstream(request):
            await self.let_through(request, receive, send)
            return
        page = page or self._page_above(request.path)
        if page is not None:
            await page(self, request, receive, send)
        elif request.path.startswith(self.rules.prefix):
            raise NoSuchPage(f"{request.path.decode('ascii')}: no such page")
        else:
            await self.let_through(request, receive, send)

    def _asks_upstream(self, request: GateRequest) -> bool:
        """Return whether a preflight is about a path that is the upstream's, too, although a page of ours answers there."""
        return not request.path.startswith(self.rules.prefix) and self.rules.preflights and is_preflight(request)

    async def let_through(self, request: GateRequest, receive: Receive, send: Send) -> None:
        """Answer a request that is for what stands behind, guarded where its path is protected."""
        if self.rules.is_for_nobody(request):
            await self._forward_without_credentials(request, receive, send)
            return
        if self.browsers is not None:
            visited = await self.browsers.visit(self, request, send)
            if visited is None:
                return
            send = visited
        if not self.rules.guards(request.path):
            dropped = await self.dropped_from(request)
            await self._hand_on(request, receive, send, authorization_without_ours(request), dropped)
        else:
            await self._guard(request, receive, send)

    async def _forward_without_credentials(self, request: GateRequest, receive: Receive, send: Send) -> None:
        if is_preflight(request):
            # A preflight has no cookies, and asks the upstream about a path of ours as it is.
            request = replace(request, intake=replace(request.intake, cookies=[]))
            await self._hand_on(request, receive, send, None, frozenset(), to=self.upstream)
        else:
            await self.hand_on_as_nobody(request, receive, send)

    def _page_above(self, path: bytes) -> Page | None:
        return next((page for tree, page in self._trees if path.startswith(tree)), None)

    async def _guard(self, request: GateRequest, receive: Receive, send: Send) -> None:
        decision = await self.decide(request)
        receive = await self._permit(decision, request, receive)
        if isinstance(decision, Granted):
            await self.hand_on_as(decision, request, receive, send)
        elif isinstance(decision, Unclaimed) and self.is_for_upstream(decision, request):
            await self.pass_on(decision, request, receive, send)
        else:
            await self.refuse(send, decision, request)

    async def decide(self, request: GateRequest) -> Decision:
        """Return the decision about a request; a credential that was checked a moment ago costs no await.

        Raises:
            CompatAuthError: See `Decider.decide`.
            NotPermitted: Another origin's page could have made a browser send it; see `compat_auth.http.browser.cross_origin`.
        """
        bearer_ended, cookie_ended = await self._ended(request)
        if bearer_ended:
            raise TokenEnded("the token is no longer good")
        if request.intake.authorization is not None:
            granted = self.recall(request)
            if granted is not None:
                if request.method not in SAFE_METHODS:
                    await self._require_own_origin(granted, request)
                return _counted(granted, request)
        elif not cookie_ended and self._has_upstream_identity(request):
            return Unclaimed(Absent(), self._challenges)
        decision = await self.decider.decide(request.presented())
        if cookie_ended and isinstance(decision, Unclaimed):
            # The upstream would judge it, and some upstreams believe the cookie and not the Bearer beside it.
            raise NotAuthenticated("the token in the cookie is no longer good")
        if request.method not in SAFE_METHODS:
            await self._require_own_origin(decision, request)
        return _counted(decision, request)

    def recall(self, request: GateRequest) -> Granted | None:
        """Return the grant for a credential that was checked a moment ago, or None."""
        try:
            shown = request.shown
        except CompatAuthError:
            # What is wrong with it is said where it is decided.
            return None
        return self.decider.recall(shown, request.presented)

    async def identify(self, request: GateRequest) -> Decision:
        """Return who the caller is by the Authorization value, for a page of ours that needs no token for the upstream.

        Raises:
            CompatAuthError: See `Decider.decide`.
        """
        bearer_ended, _ = await self._ended(request)
        if bearer_ended:
            raise TokenEnded("the token is no longer good")
        return await self.decider.identify(request.presented())

    async def _require_own_origin(self, decision: Decision, request: GateRequest) -> None:
        """Return unless a browser may have added the accepted credential at the will of another origin's page.

        Raises:
            NotPermitted: It may have, and the upstream's CORS settings do not let that origin send the credential.
            CompatAuthError: The upstream could not be asked.
        """
        authorization = request.intake.authorization
        shown = None if authorization is None else authorization.decode("latin-1")
        if not isinstance(decision, Granted) or not is_added_by_browsers(shown):
            return
        call = call_of(request)
        reason = find_foreign_origin(call)
        # A cookie or a client certificate never shows that a script has meant it.
        if reason and shown is not None and await self.allows_origin(request):
            return
        if reason:
            identity, path = decision.identity, request.path.decode("ascii")
            audit.record(
                audit.AuditEvent(
                    "reject", identity.backend, identity.username, reason, request.method, path, request.client
                )
            )
            raise NotPermitted(reason)

    async def _preflight(self, request: GateRequest, headers: RawHeaders) -> PreflightAnswer:
        """Return what stands behind answers to a preflight about the request's path."""
        return await self._ask_as_nobody(request, "OPTIONS", headers)

    async def _ask_as_nobody(self, request: GateRequest, method: str, headers: RawHeaders) -> PreflightAnswer:
        intake = replace(request.intake, kept=headers, authorization=None, cookies=[])
        asked = replace(request, scope={**request.scope, "method": method}, intake=intake, method=method)
        answer = PreflightAnswer()
        await self._hand_on(asked, NoBody(), answer.send, None, frozenset(), to=self.answers_preflights(request))
        return answer

    async def allows_origin(self, request: GateRequest) -> bool:
        """Return whether the upstream's CORS settings let the request's origin send it with a credential.

        Raises:
            CompatAuthError: The upstream could not be asked.
        """
        call = call_of(request)
        headers = preflight_for(call)
        if headers is None:
            return False
        answer = await self._preflight(request, headers)
        return is_allowed_by(call, answer.status, answer.headers)

    def _telling_origins(self, origins: OriginHeaders, request: GateRequest, send: Send) -> Send:
        """Return a `send` that adds what the upstream says about the request's origin to an answer of ours."""
        found = [value for name, value in request.intake.kept if name == b"origin"]
        if len(found) != 1:
            return send
        (origin,) = found

        async def ask() -> RawHeaders:
            cookie = [(b"cookie", b"asked=1")] if request.intake.cookies else []
            about = replace(request, path=PUBLIC_PAGE, query=b"", body=b"", held=None)
            return (await self._ask_as_nobody(about, "GET", [(b"origin", origin), *cookie])).headers

        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start" and self._is_ours_to_tell(request, message):
                told = await origins.about(origin, ask, has_cookies=bool(request.intake.cookies))
                message = {**message, "headers": [*message["headers"], *told]}
            await send(message)

        return send_told

    def _is_ours_to_tell(self, request: GateRequest, message: Message) -> bool:
        if message.get(FROM_UPSTREAM):
            return False
        if request.original is not None:
            # The front proxy sends a refusal on to the client; of a yes it takes single headers.
            return bool(message["status"] >= _ERRORS)
        # Pages of ours are for their own origin alone.
        return not request.path.startswith(self.rules.prefix)

    def answers_preflights(self, request: GateRequest) -> ASGIApp:
        """Return the application that knows the upstream's CORS settings."""
        del request
        return self.upstream

    async def dropped_from(self, request: GateRequest) -> frozenset[bytes]:
        """Return the cookies that a request for an unprotected path does not carry on.

        Raises:
            TokenEnded: Its Bearer is no longer good.
            BackendUnavailable: Whether it is could not be asked.
        """
        bearer_ended, cookie_ended = await self._ended(request)
        if bearer_ended:
            raise TokenEnded("the token is no longer good")
        # A browser that has logged out may go to the login page.
        return self.rules.own_cookies | set(self.rules.identity_cookies[:1] if cookie_ended else ())

    async def ended(self, authorizations: list[bytes], cookies: list[bytes]) -> tuple[bool, bool]:
        """Return whether a Bearer among these values is no longer good, and whether the upstream's cookie is not.

        Raises:
            BackendUnavailable: It could not be asked.
        """
        denials, names = self._denials, self.rules.identity_cookies
        if denials is None:
            return False, False
        bearers = [bearer for value in authorizations if (bearer := _bearer_in(value)) is not None]
        values = cookie_values(cookies, names[0]) if names and cookies else []
        if not bearers and not values:
            return False, False
        if denials.is_stale:
            await denials.up_to_date()
        return any(map(denials.refuses, bearers)), any(map(denials.refuses_value, values))

    async def _ended(self, request: GateRequest) -> tuple[bool, bool]:
        authorization = request.intake.authorization
        return await self.ended([] if authorization is None else [authorization], request.intake.cookies)

    async def _permit(self, decision: Decision, request: GateRequest, receive: Receive) -> Receive:
        """Return the `receive` of a request that nothing stands in the way of; its body is read where that decides.

        Raises:
            InsufficientScope, NotPermitted: See `require_permission`.
        """
        try:
            self.require_permission(decision, request)
        except NotPermitted as refusal:
            if not names_in_body(request.method, request.path.decode("ascii")):
                raise
            try:
                if request.held is None:
                    request.inspected = await read_body(receive, MAX_BODY_BYTES)
                    receive = replayed(request.inspected, receive)
                else:
                    request.inspected = await request.held.hold()
            except BodyTooLarge:
                raise refusal from None
            if len(request.inspected) > MAX_BODY_BYTES:
                raise
            self.require_permission(decision, request)
        return receive

    def require_permission(self, decision: Decision, request: GateRequest, *readings: GateRequest) -> None:
        """Return when scopes and requirements do not stand in the way of the request.

        Args:
            decision: About it.
            request: As it came.
            readings: What else it can be taken for: with another method.

        Raises:
            InsufficientScope: The credential is limited, and not for this method and path, nor for all it can reach.
            NotPermitted: The identity does not meet what the path requires; nor does one that only the upstream knows.
        """
        if isinstance(decision, Granted) and decision.identity.scopes is not None:
            methods = [reading.method for reading in (request, *readings)]
            needed = uncovered(decision.identity.scopes, methods, request.path.decode("ascii"), request.inspected)
            if needed is not None:
                raise InsufficientScope("the credential's scopes do not cover this request", needed)
        for reading in (request, *readings):
            self.require_met(decision, reading)

    def require_met(self, decision: Decision, request: GateRequest) -> None:
        """Return when what the path requires of an identity does not stand in the way of the request.

        Raises:
            NotPermitted: The identity does not meet it; nor does one that only the upstream knows.
        """
        if isinstance(decision, Granted):
            if not all(required.met_by(decision.identity) for required in self.rules.required_of(request)):
                raise NotPermitted
        elif (
            isinstance(decision, Unclaimed)
            and self.is_for_upstream(decision, request)
            and next(self.rules.required_of(request), None) is not None
        ):
            # Only the upstream can tell who this is, so nobody can tell that it meets what the path requires.
            raise NotPermitted

    def is_for_upstream(self, unclaimed: Unclaimed, request: GateRequest) -> bool:
        """Return whether what no backend takes is the upstream's own to judge: its JWT, or its cookie."""
        if isinstance(unclaimed.credential, Bearer):
            # A personal token is nobody's but ours, also where no backend takes one.
            return not looks_like_one(unclaimed.credential.token)
        return isinstance(unclaimed.credential, Absent) and any(
            has_cookie(request.intake.cookies, name) for name in self.rules.identity_cookies
        )

    def _has_upstream_identity(self, request: GateRequest) -> bool:
        cookies = request.intake.cookies
        return bool(cookies and self.rules.identity_cookies and has_cookie(cookies, self.rules.identity_cookies[0]))

    async def pass_on(self, unclaimed: Unclaimed, request: GateRequest, receive: Receive, send: Send) -> None:
        """Hand on what the upstream is to judge, with its own credential."""
        own, demand = request.intake.authorization, self.demand(unclaimed, request)
        await self._hand_on(request, receive, send, own, self.rules.own_cookies, demand=demand)

    async def hand_on_as(self, granted: Granted, request: GateRequest, receive: Receive, send: Send) -> None:
        """Hand a request on as the caller."""

        async def renew() -> bytes | None:
            renewed = await self.decider.renew(request.presented(), granted)
            return renewed.bearer if renewed is not None else None

        if granted.headers:
            send = _adding(granted.headers, send)
        bearer = self.rules.bearer_for(request.path, granted)
        demand = self.demand(granted, request)
        if bearer is None:
            await self._hand_on(request, receive, send, None, self.dropped_cookies, demand=demand)
        else:
            send = watch_for_refusal(send, bearer, lambda: self.decider.forget_token(granted))
            await self._hand_on(request, receive, send, bearer, self.dropped_cookies, renew, demand)

    def demand(self, decision: Decision, request: GateRequest) -> Authorize:
        """Return what tells whether the same caller may also ask something else of what stands behind."""
        return lambda method, path, body: self.require_met(
            decision, replace(request, method=method, path=path, inspected=body)
        )

    async def hand_on_as_nobody(self, request: GateRequest, receive: Receive, send: Send) -> None:
        """Hand a request on without any identity: for what the upstream tells everybody."""
        await self._hand_on(request, receive, send, None, self.dropped_cookies)

    async def _hand_on(
        self,
        request: GateRequest,
        receive: Receive,
        send: Send,
        authorization: bytes | None,
        dropped: frozenset[bytes],
        renew: Callable[[], Awaitable[bytes | None]] | None = None,
        demand: Authorize | None = None,
        to: ASGIApp | None = None,
    ) -> None:
        headers: RawHeaders = [*request.intake.kept]
        if request.intake.host:
            headers.insert(0, (b"host", request.intake.host))
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
        scope["extensions"] = {**(scope.get("extensions") or {}), RENEW: renew, INTAKE: request, AUTHORIZE: demand}
        await (to or self.behind)(scope, receive, send)

    async def refuse(
        self, send: Send, refusal: CompatAuthError | Refused | Unclaimed, request: GateRequest | None
    ) -> None:
        """Answer a request that is not let in: every challenge on a 401, nothing that a cache may keep.

        Args:
            send: To the caller.
            refusal: Why.
            request: As it came; None where it could not be taken in.
        """
        style, occasion = self.rules.style, self.occasion(request)
        if isinstance(refusal, CompatAuthError):
            # What stands behind takes Bearers, whether or not a backend of ours does.
            invites = self._challenges_to_bearers if isinstance(refusal, TokenEnded) else self._challenges
            wording = style.render_error(refusal, invites, occasion=occasion)
        else:
            status = refusal.status if isinstance(refusal, Refused) else 401
            wording = style.render(status, refusal.challenges, occasion=occasion)
        await respond_rendered(send, wording)

    def occasion(self, request: GateRequest | None) -> ChallengeContext:
        """Return what a refusal of the request speaks about."""
        if request is None:
            return ChallengeContext()
        authorization = request.intake.authorization
        return ChallengeContext(
            is_bearer(None if authorization is None else authorization.decode("latin-1")),
            "" if self._metadata_url is None else self._metadata_url(request),
            caller_of(request.intake.kept),
        )


async def _respond_moved(send: Send, scope: Scope, merged: MergedPath) -> None:
    root: str = scope.get("root_path", "")
    # Never two slashes at the start: those would name a host (RFC 3986 section 4.2).
    path = b"/" + (root.encode("ascii", "ignore") + merged.path).lstrip(b"/")
    await respond_moved(send, path, scope["query_string"])


async def respond_moved(send: Send, path: bytes, raw_query: bytes) -> None:
    """Answer 308 to a path with empty segments: the client asks again, and nothing of this request has been used.

    Args:
        send: To the caller.
        path: Where to ask; canonical, or a URL with such a path.
        raw_query: Of the request.
    """
    try:
        query = canonical_query(raw_query)
    except InvalidPath:
        # What it is asked next says what is wrong with it; nothing of the kind goes into a header.
        query = b""
    location = path + (b"?" + query if query else b"")
    await respond(
        send,
        308,
        # For clients that follow no redirect, or none of a POST: they show what they got.
        problem_body(308, detail="path: an empty segment ('//'); take the slash off the end of the base URL"),
        content_type=PROBLEM_JSON.encode(),
        headers=[(b"location", location), (b"cache-control", b"no-store")],
    )


def _is_plain_check(request: GateRequest) -> bool:
    """Return whether this is what HAProxy's `option httpchk` sends without arguments: `OPTIONS / HTTP/1.0`."""
    return request.method == "OPTIONS" and request.path == b"/" and not request.intake.host


def _counted(decision: Decision, request: GateRequest) -> Decision:
    if isinstance(decision, Granted) and decision.used is not None and not request.only_asked_about:
        decision.used()
    return decision


def authorization_without_ours(request: GateRequest) -> bytes | None:
    """Return the Authorization value with which a request goes on for which nobody has to be known.

    Passwords and tickets are for us alone, and a personal token says nothing to the upstream, which might take it for a
    password. However malformed: what reads it next may be less strict than we are.
    """
    authorization = request.intake.authorization
    if authorization is None:
        return None
    return None if _OUR_SCHEME.search(authorization) or holds_one(authorization) else authorization


def _bearer_in(authorization: bytes) -> str | None:
    if authorization[:7].lower() != b"bearer ":
        return None
    return authorization[7:].strip(b" \t").decode("latin-1")


def _adding(extra: tuple[tuple[bytes, bytes], ...], send: Send) -> Send:
    async def send_with_headers(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return send_with_headers


async def _refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    body = problem_body(501, detail="WebSocket connections are not passed on; call the upstream directly")
    headers = [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "websocket.http.response.start", "status": 501, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})

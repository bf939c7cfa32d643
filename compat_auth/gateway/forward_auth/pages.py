"""Forward-auth: a front proxy asks for the decision and keeps the traffic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from compat_auth.authn.users.acting import require_nobody_in
from compat_auth.errors import CompatAuthError, InvalidPath, NoSuchPage, NotPermitted, StageRefusal
from compat_auth.gateway.admission import Browsers
from compat_auth.gateway.authorization import Authorization
from compat_auth.gateway.decision import Granted, Unclaimed, notices_of
from compat_auth.gateway.forward_auth.access import Access, hint
from compat_auth.gateway.forward_auth.dialects import DIALECTS, Dialect, origin_of, original_of, overridden
from compat_auth.gateway.forward_auth.lane import COOKIE_HEADER, LANE_PAGE, Lane
from compat_auth.gateway.forwarding import authorization_without_ours
from compat_auth.gateway.identification import Identification
from compat_auth.gateway.middleware import Page
from compat_auth.gateway.refusals import Refusals, respond_moved
from compat_auth.http.asgi import RawHeaders, Receive, Send, respond
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.headers import without_cookies
from compat_auth.http.paths import MergedPath
from compat_auth.http.request import GateRequest
from compat_auth.http.root_path import RootPath
from compat_auth.telemetry.access_log import shown_path
from compat_auth.tokens.revoked import RevokedTokens

FORWARD_AUTH_PAGES = (*(f"forward-auth/{name}" for name in DIALECTS), LANE_PAGE)
"""Path of the pages, below the prefix."""
BearerFor = Callable[[GateRequest, Granted], Awaitable[bytes]]
"""Return the Authorization value that the front proxy gets for an accepted original request."""


class ForwardAuth:
    """The pages.

    Args:
        access: Who may ask.
        bearer_for: Makes the Authorization value of an accepted request.
        identification: Decides.
        authorization: Allows.
        revoked: The upstream's revoked tokens.
        refusals: Refuses.
        trusted: Proxies whose headers about the caller are believed.
        browsers: The treatment of browsers; None: they are treated as programs.
        root: The path in front of all paths.
        lane: Answers from memory.
    """

    def __init__(
        self,
        access: Access,
        bearer_for: BearerFor,
        identification: Identification,
        authorization: Authorization,
        revoked: RevokedTokens,
        refusals: Refusals,
        *,
        trusted: TrustedProxies,
        browsers: Browsers | None,
        root: RootPath,
        lane: Lane,
    ) -> None:
        self._access = access
        self._bearer_for = bearer_for
        self._identification = identification
        self._authorization = authorization
        self._rules = authorization.rules
        self._revoked = revoked
        self._refusals = refusals
        self._trusted = trusted
        self._browsers = browsers
        self._root = root
        self._lane = lane

    def pages(self) -> dict[str, Page]:
        """Return one page for each dialect and that of the lane, by path below the prefix."""
        pages = {f"forward-auth/{name}": self._page(dialect) for name, dialect in DIALECTS.items()}
        return {**pages, LANE_PAGE: self._lane.answer}

    def _page(self, dialect: Dialect) -> Page:
        async def answer(request: GateRequest, _receive: Receive, send: Send) -> None:
            self._access.require(self._trusted, request)
            try:
                original = request.original = original_of(dialect, request, self._rules.rests, self._root)
            except MergedPath as merged:
                await _send_elsewhere(dialect, request, merged, send)
                return
            if self._rules.do_as:
                require_nobody_in(original.query)
            try:
                headers = await self._headers_of(request, original, send)
            except StageRefusal as refusal:
                raise _passed_on(dialect, refusal) from None
            if headers is not None:
                await respond(send, 200, headers=[(b"cache-control", b"no-store"), *headers])

        return answer

    async def _headers_of(self, request: GateRequest, original: GateRequest, send: Send) -> RawHeaders | None:
        """Return the headers that replace the caller's credentials at the front proxy; None: the request was refused."""
        authorization, cookies = original.intake.authorization, original.intake.cookies
        extra: tuple[tuple[bytes, bytes], ...] = ()
        if self._browsers is not None:
            extra = tuple(await self._browsers.log_out(original))
        if self._is_for_nobody(original):
            authorization, cookies = None, [b""] if cookies else []
            dropped = self._rules.dropped_cookies
        elif not self._rules.guards(original.path):
            dropped = self._rules.dropped_unprotected(await self._revoked.require_bearer(original))
            await self._identification.require_open(original)
            authorization = authorization_without_ours(original)
        else:
            decision = await self._identification.decide(original)
            self._authorization.require(decision, original, *overridden(original))
            dropped = self._rules.own_cookies
            if isinstance(decision, Granted):
                authorization = None
                if self._rules.bearer_for(original.path, decision) is not None:
                    authorization = await self._bearer_for(original, decision)
                extra, dropped = decision.headers, self._rules.dropped_cookies
            elif not (isinstance(decision, Unclaimed) and self._authorization.is_for_upstream(decision, original)):
                await self._refusals.send(send, decision, request)
                return None
            extra = (*extra, *notices_of(decision))
        headers: RawHeaders = [*extra]
        if authorization is not None:
            headers.append((b"authorization", authorization))
        if cookies:
            headers.append((COOKIE_HEADER, b"; ".join(without_cookies(cookies, dropped))))
        return headers

    def _is_for_nobody(self, original: GateRequest) -> bool:
        """Return whether the front proxy may forward the request without any credential; see `GateRules`."""
        return self._rules.is_for_nobody(original) and next(overridden(original), None) is None


async def not_here(request: GateRequest, _receive: Receive, _send: Send) -> None:
    """Answer 404 because forward-auth is off, and say in the log how to turn it on.

    Raises:
        NoSuchPage: Always.
    """
    hint(
        "forward-auth: asked for, but off on this listener; set [forward_auth] bind and let the front proxy ask there, "
        "or set [forward_auth] secret"
    )
    raise NoSuchPage(f"{shown_path(request.path)}: no such page")


async def nothing_else(request: GateRequest, _receive: Receive, _send: Send) -> None:
    """Answer 404 to every other path on the listener of forward-auth.

    Raises:
        NoSuchPage: Always.
    """
    raise NoSuchPage(f"{shown_path(request.path)}: no such page on the listener of forward-auth")


def _passed_on(dialect: Dialect, refusal: StageRefusal) -> CompatAuthError:
    """Return the refusal with a status that the front proxy passes on: nginx turns every status except 401 and 403 into 500."""
    if dialect.moved != "nothing" or refusal.status == HTTPStatus.UNAUTHORIZED:
        return refusal
    if refusal.status == HTTPStatus.GONE:
        return StageRefusal(
            str(refusal),
            HTTPStatus.UNAUTHORIZED,
            retry_after_s=refusal.retry_after_s,
            headers=refusal.headers,
            challenges=refusal.challenges,
        )
    return NotPermitted(str(refusal))


async def _send_elsewhere(dialect: Dialect, request: GateRequest, merged: MergedPath, send: Send) -> None:
    """Have the client ask for the merged path: the front proxy would forward the path unchanged.

    Raises:
        InvalidPath: The front proxy forwards no redirect.
    """
    if dialect.moved == "nothing":
        raise InvalidPath(str(merged))
    query = request.intake.forward[dialect.uri][0].partition(b"?")[2]
    origin = b"" if dialect.moved == "path" else origin_of(dialect, request)
    await respond_moved(send, origin + merged.path, query)

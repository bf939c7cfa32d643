"""Identifies the sender of a request: asks the decider, after the denylist and the check of the origin."""

from __future__ import annotations

from compat_auth.credentials import Absent
from compat_auth.errors import CompatAuthError, NotAuthenticated
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Decision, Granted, Unclaimed
from compat_auth.gateway.origins import UpstreamOrigins
from compat_auth.gateway.stages.gate_stages import GateStages
from compat_auth.http.browser.csrf import SAFE_METHODS
from compat_auth.http.headers import has_cookie
from compat_auth.http.request import GateRequest
from compat_auth.telemetry.counts import count_cached
from compat_auth.tokens.revoked import RevokedTokens


class Identification:
    """Decides about the callers of a gate.

    Args:
        decider: Decides about credentials.
        revoked: The upstream's tokens that we have revoked and that the upstream would accept.
        origins: The origins that the upstream allows.
        upstream_cookie: The cookie that alone authenticates a user to the upstream; b"" if there is none.
        stages: The stages of logins; None: there are none.
    """

    def __init__(
        self,
        decider: Decider,
        revoked: RevokedTokens,
        origins: UpstreamOrigins,
        upstream_cookie: bytes,
        stages: GateStages | None = None,
    ) -> None:
        self._decider = decider
        self._revoked = revoked
        self._origins = origins
        self._upstream_cookie = upstream_cookie
        self._stages = stages
        self._challenges = decider.chain.challenges()

    async def decide(self, request: GateRequest) -> Decision:
        """Return the decision about a request; a credential that was checked a moment ago costs no await.

        Raises:
            CompatAuthError: See `Decider.decide`.
            TokenEnded: The Bearer is revoked.
            StageRefusal: The login is not to be used any more, or not now.
            NotPermitted: Another origin's page could have made a browser send it; see
                `compat_auth.http.browser.cross_origin`.
        """
        is_cookie_revoked = await self._revoked.require_bearer(request)
        decision: Decision | None = None
        cookies: tuple[bytes, ...] = ()
        if request.intake.authorization is not None:
            decision = self._known(request)
        elif not is_cookie_revoked and self._has_upstream_cookie(request) and not request.peer.speaks:
            return await self._staged(Unclaimed(Absent(), self._challenges), request)
        elif cookies := _deciding_cookies(request):
            decision = self._decider.recall_cookies(cookies, request.presented)
        if isinstance(decision, Granted):
            count_cached(decision.identity.backend)
        if decision is None:
            decision = await self._decider.decide(request.presented(), cookies)
        # A remembered decision is about the Bearer alone.
        if is_cookie_revoked and isinstance(decision, Unclaimed):
            # The upstream would judge it, and some upstreams believe the cookie and not the Bearer beside it.
            raise NotAuthenticated("the token in the cookie is no longer good")
        if request.method not in SAFE_METHODS:
            await self._origins.require_own(decision, request)
        decision = await self._staged(decision, request)
        if isinstance(decision, Granted):
            request.identity = request.outcome.identity = decision.identity
            if decision.used is not None and not request.only_asked_about:
                decision.used()
        return decision

    async def decide_here(self, request: GateRequest) -> Decision:
        """Return the decision at one of our pages: without a header the session counts, even beside the upstream's cookie.

        Raises:
            CompatAuthError: See `decide`.
        """
        if request.intake.authorization is not None:
            return await self.decide(request)
        return await self._staged(_noted(request, await self._decider.decide(request.presented())), request)

    async def identify(self, request: GateRequest) -> Decision:
        """Return who sent the Authorization value, for one of our pages that needs no token for the upstream.

        Raises:
            CompatAuthError: See `Decider.decide`.
            TokenEnded: The Bearer is revoked.
        """
        await self._revoked.require_bearer(request)
        return await self._staged(_noted(request, await self._decider.identify(request.presented())), request)

    async def require_open(self, request: GateRequest) -> None:
        """Raise where a request that needs no decision has a token of the upstream whose login is refused now.

        Raises:
            StageRefusal: It has.
        """
        if self._stages is not None:
            await self._stages.require_open(request)

    async def _staged(self, decision: Decision, request: GateRequest) -> Decision:
        return decision if self._stages is None else await self._stages.apply(decision, request)

    def recall(self, request: GateRequest) -> Granted | None:
        """Return the grant for a credential that was checked a moment ago; None for any other, and for none at all."""
        known = self._known(request)
        return known if isinstance(known, Granted) else None

    def _known(self, request: GateRequest) -> Granted | Unclaimed | None:
        try:
            shown = request.shown
        except CompatAuthError:
            # What is wrong with it is said where it is decided.
            return None
        return self._decider.known(shown, request.presented)

    def _has_upstream_cookie(self, request: GateRequest) -> bool:
        cookies = request.intake.cookies
        return bool(cookies and self._upstream_cookie and has_cookie(cookies, self._upstream_cookie))


def _noted(request: GateRequest, decision: Decision) -> Decision:
    if isinstance(decision, Granted) and not request.only_asked_about:
        request.outcome.identity = decision.identity
    return decision


def _deciding_cookies(request: GateRequest) -> tuple[bytes, ...]:
    """Return the scheme and the cookies of a request, if a decision about its session depends on nothing else; else ().

    A request whose method changes something is checked for forgery each time, and a peer that names the caller is asked
    before a cookie.
    """
    intake = request.intake
    if not intake.cookies or intake.acts_for or request.method not in SAFE_METHODS or request.peer.speaks:
        return ()
    return (request.scheme.encode("ascii"), *intake.cookies)

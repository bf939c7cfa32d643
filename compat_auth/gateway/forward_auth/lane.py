"""The lane: a front proxy asks about a credential, and not about a request, and is answered from memory alone.

A yes means that the gateway would forward every ordinary request with this credential as the same caller, for as long as
the answer says. Everything else is an empty 401, without a challenge, and the front proxy sends the request itself through
the gateway, which answers it in full. So a no costs a detour and never an answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from compat_auth.credentials import Bearer
from compat_auth.crypto.personal_token_format import holds_one
from compat_auth.errors import CompatAuthError
from compat_auth.gateway.authorization import GateRules
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Granted
from compat_auth.gateway.forward_auth.access import Access
from compat_auth.gateway.stages.gate_stages import GateStages
from compat_auth.http.asgi import RawHeaders, Receive, Send, respond
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.headers import Intake, cookie_values, without_cookies
from compat_auth.http.request import GateRequest, Shown
from compat_auth.scopes import ALL, Scope
from compat_auth.telemetry import counts
from compat_auth.tokens.revoked import RevokedTokens
from compat_auth.usage.recorder import UsageRecorder

LANE_PAGE = "forward-auth/lane"
"""Path of the page, below the prefix."""
COOKIE_HEADER = b"x-compat-auth-cookie"
"""The Cookie header for the front proxy to forward: without our cookies and, once the caller is known, the upstream's."""
LASTS_HEADER = b"x-compat-auth-lasts-ms"
"""For how many milliseconds the front proxy may use the answer, from the moment at which it asked."""
# A front proxy's clock is coarse, and its answer is under way for a moment: together that stays below a second.
_LASTS_S = 0.9
_NO_STORE = (b"cache-control", b"no-store")


class Lane:
    """The page of the lane.

    Args:
        access: Who may ask.
        decider: Remembers credentials.
        rules: The gate's rules.
        revoked: The upstream's revoked tokens.
        trusted: Proxies whose headers about the caller are believed.
        now: Seconds since the epoch.
        stages: The stages of logins; None: there are none.
        usage: Counts the seconds in which a credential is used; None: nobody does.
    """

    def __init__(
        self,
        access: Access,
        decider: Decider,
        rules: GateRules,
        revoked: RevokedTokens,
        *,
        trusted: TrustedProxies,
        now: Callable[[], float] = time.time,
        stages: GateStages | None = None,
        usage: UsageRecorder | None = None,
    ) -> None:
        self._stages = stages
        self._access = access
        self._decider = decider
        self._revoked = revoked
        self._trusted = trusted
        self._now = now
        self._usage = usage
        # These depend on the request: on its path and method, or on a parameter that names another user.
        self._is_closed = bool(rules.requirements) or rules.do_as
        self._dropped = rules.dropped_cookies

    async def answer(self, request: GateRequest, _receive: Receive, send: Send) -> None:
        """Answer 200 with the headers that replace the caller's credentials, or an empty 401.

        Raises:
            NotPermitted: A client may have sent the question.
        """
        self._access.require(self._trusted, request)
        # The front proxy uses the answer for every request with this credential, whatever is said about its caller.
        headers = self.headers_of(
            None if request.peer.speaks else request.intake, lambda: request.shown, request.client
        )
        await respond(send, 401 if headers is None else 200, headers=[_NO_STORE, *(headers or ())])

    def headers_of(self, intake: Intake | None, shown: Callable[[], Shown], client: str) -> RawHeaders | None:
        """Return the headers of a yes, without those that every answer has; None for a no.

        Args:
            intake: The header section of the question; None: it says itself who the caller is.
            shown: Returns the Authorization value; raises `CompatAuthError` where it is malformed.
            client: Address of the caller.
        """
        found = None if self._is_closed or intake is None else self._find(intake, shown, client)
        if found is None:
            counts.LANE_NO.value += 1
            return None
        counts.LANE_YES.value += 1
        return [*found[0], *self._lasts(found[1])]

    def _find(self, intake: Intake, shown: Callable[[], Shown], client: str) -> tuple[RawHeaders, float] | None:
        """Return the headers of a yes, and for how many seconds the memory behind it holds; None for a no."""
        authorization = intake.authorization
        if authorization is None or intake.acts_for:
            return None
        good_s = self._revoked.good_s(authorization)
        if good_s <= 0:
            return None
        try:
            found = shown()
            glance = self._decider.glance(found)
        except CompatAuthError:
            # What is wrong with it is said where it is decided.
            return None
        if glance is None:
            return self._own(intake, found, good_s)
        granted, holds_s = glance
        # The front proxy uses the answer for every request with this credential, whether the client shows a certificate or not.
        if granted.headers or granted.identity.certificate or not _is_unlimited(granted) or self._is_staged(granted):
            return None
        if granted.used is not None:
            granted.used()
        counts.count_cached(granted.identity.backend)
        if self._usage is not None:
            self._usage.count_lane(granted.identity, client)
        return [(b"authorization", granted.bearer), *_cookie(intake, self._dropped)], min(good_s, holds_s)

    def _is_staged(self, granted: Granted) -> bool:
        # A stage may add headers to each answer, or begin within the second for which this one is used.
        return self._stages is not None and not self._stages.leaves_all(granted.identity)

    def _own(self, intake: Intake, shown: Shown, good_s: float) -> tuple[RawHeaders, float] | None:
        """Return the headers for a token that only the upstream checks."""
        authorization = intake.authorization
        # An upstream may believe its cookie and not the Bearer beside it.
        if authorization is None or any(cookie_values(intake.cookies, name) for name in self._dropped):
            return None
        if holds_one(authorization) or not isinstance(shown.credential(), Bearer):
            return None
        if not self._decider.leaves_to_upstream(shown):
            return None
        if self._stages is not None and not self._stages.leaves_bearer(shown):
            return None
        if self._usage is not None:
            self._usage.count_lane(None, "")
        return [(b"authorization", authorization), *_cookie(intake, frozenset())], good_s

    def _lasts(self, lasts_s: float) -> Iterable[tuple[bytes, bytes]]:
        now = self._now()
        yield LASTS_HEADER, b"%d" % int(min(lasts_s, _LASTS_S) * 1000)
        # nginx takes whole seconds: "@" and a second is that second to its end, 0 is not at all.
        yield b"x-accel-expires", b"@%d" % now if now + lasts_s >= math.floor(now) + 1 else b"0"


def _is_unlimited(granted: Granted) -> bool:
    scopes: Iterable[Scope] | None = granted.identity.scopes
    return scopes is None or any(str(scope) == ALL for scope in scopes)


def _cookie(intake: Intake, dropped: frozenset[bytes]) -> RawHeaders:
    cookies = intake.cookies
    return [(COOKIE_HEADER, b"; ".join(without_cookies(cookies, dropped)))] if cookies else []

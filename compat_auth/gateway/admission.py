"""The way of a request to the application behind the gate: browsers, decision, authorization, forwarding."""

from __future__ import annotations

from typing import Protocol

from compat_auth.gateway.authorization import Authorization
from compat_auth.gateway.decision import Granted, Unclaimed
from compat_auth.gateway.forwarding import Forwarding
from compat_auth.gateway.identification import Identification
from compat_auth.gateway.refusals import Refusals
from compat_auth.http.asgi import RawHeaders, Receive, Send
from compat_auth.http.browser.preflight import is_preflight
from compat_auth.http.request import GateRequest
from compat_auth.tokens.revoked import RevokedTokens


class Browsers(Protocol):
    """The treatment of browsers; see `compat_auth.browsers.visits`."""

    def leading_in(self, request: GateRequest, send: Send) -> Send:
        """Return the `send` by which a browser learns where to log in."""
        ...

    async def visit(self, request: GateRequest, send: Send) -> Send | None:
        """Return the `send` of a request for the application behind the gate; None if it is already answered."""
        ...

    async def log_out(self, request: GateRequest) -> RawHeaders:
        """Return the headers that delete a browser's cookies at the upstream's own logout, once our session has ended."""
        ...


class Admission:
    """Answers requests for the application behind the gate.

    Args:
        identification: Decides.
        authorization: Allows.
        forwarding: Forwards.
        refusals: Refuses.
        revoked: The upstream's revoked tokens.
        browsers: The treatment of browsers; None: they are treated as programs.
    """

    def __init__(
        self,
        identification: Identification,
        authorization: Authorization,
        forwarding: Forwarding,
        refusals: Refusals,
        revoked: RevokedTokens,
        browsers: Browsers | None = None,
    ) -> None:
        self._rules = authorization.rules
        self._identification = identification
        self._authorization = authorization
        self._forwarding = forwarding
        self._refusals = refusals
        self._revoked = revoked
        self._browsers = browsers

    async def admit(self, request: GateRequest, receive: Receive, send: Send) -> None:
        """Forward a request, or refuse it; a protected path needs a decision.

        Raises:
            CompatAuthError: The request is refused.
        """
        if self._rules.is_for_nobody(request):
            if is_preflight(request):
                await self._forwarding.preflight(request, receive, send)
            else:
                await self._forwarding.without_credentials(request, receive, send)
            return
        if self._browsers is not None:
            visited = await self._browsers.visit(request, send)
            if visited is None:
                return
            send = visited
        if self._rules.guards(request.path):
            await self._admit_caller(request, receive, send)
        else:
            is_revoked = await self._revoked.require_bearer(request)
            await self._identification.require_open(request)
            await self._forwarding.unprotected(request, receive, send, is_cookie_revoked=is_revoked)

    async def _admit_caller(self, request: GateRequest, receive: Receive, send: Send) -> None:
        decision = await self._identification.decide(request)
        receive = await self._authorization.require_with_body(decision, request, receive)
        if isinstance(decision, Granted):
            await self._forwarding.as_caller(decision, request, receive, send)
        elif isinstance(decision, Unclaimed) and self._authorization.is_for_upstream(decision, request):
            await self._forwarding.with_own_credential(decision, request, receive, send)
        else:
            await self._refusals.send(send, decision, request)

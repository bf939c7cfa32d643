"""Cross-origin requests: which origins the upstream's CORS settings allow, and how our own answers repeat them."""

from __future__ import annotations

from dataclasses import replace

from compat_auth import audit
from compat_auth.errors import NotPermitted
from compat_auth.gateway.decision import Decision, Granted
from compat_auth.gateway.forwarding import FROM_UPSTREAM, Forwarding
from compat_auth.http.asgi import Message, RawHeaders, Send
from compat_auth.http.browser.cors import OriginHeaders
from compat_auth.http.browser.cross_origin import (
    find_foreign_origin,
    is_added_by_browsers,
    is_allowed_by,
    preflight_for,
)
from compat_auth.http.browser.preflight import call_of
from compat_auth.http.request import GateRequest

PUBLIC_PAGE = b"/api/v2/version"
"""A page that every Airflow 3 shows to everybody."""
_ERRORS = 400


class UpstreamOrigins:
    """Asks the upstream about origins.

    Args:
        forwarding: To the upstream.
        prefix: Where our own pages live.
        tells: Our own answers repeat the upstream's CORS headers, which needs an Airflow there; inside Airflow
            its own middleware does so.
    """

    def __init__(self, forwarding: Forwarding, prefix: bytes, *, tells: bool = False) -> None:
        self._forwarding = forwarding
        self._prefix = prefix
        self._headers = OriginHeaders() if tells else None

    async def allow(self, request: GateRequest) -> bool:
        """Return whether the upstream's CORS settings let the request's origin send it with a credential.

        Raises:
            CompatAuthError: The upstream could not be asked.
        """
        call = call_of(request)
        headers = preflight_for(call)
        if headers is None:
            return False
        answer = await self._forwarding.ask(request, "OPTIONS", headers)
        return is_allowed_by(call, answer.status, answer.headers)

    async def require_own(self, decision: Decision, request: GateRequest) -> None:
        """Raise if a browser may have added the accepted credential at the will of another origin's page.

        Raises:
            NotPermitted: It may have, and the upstream's CORS settings do not let that origin send the credential.
            CompatAuthError: The upstream could not be asked.
        """
        authorization = request.intake.authorization
        shown = None if authorization is None else authorization.decode("latin-1")
        if not isinstance(decision, Granted) or not is_added_by_browsers(shown):
            return
        reason = find_foreign_origin(call_of(request))
        # A cookie or a client certificate never shows that a script has meant it.
        if reason and shown is not None and await self.allow(request):
            return
        if reason:
            identity, path = decision.identity, request.path.decode("ascii")
            audit.record(
                audit.AuditEvent(
                    "reject", identity.backend, identity.username, reason, request.method, path, request.client
                )
            )
            raise NotPermitted(reason)

    def telling(self, request: GateRequest, send: Send) -> Send:
        """Return a `send` that adds the upstream's headers for the request's origin to our answer."""
        origins = self._headers
        if origins is None:
            return send
        found = [value for name, value in request.intake.kept if name == b"origin"]
        if len(found) != 1:
            return send
        (origin,) = found

        async def ask() -> RawHeaders:
            cookie = [(b"cookie", b"asked=1")] if request.intake.cookies else []
            about = replace(request, path=PUBLIC_PAGE, query=b"", body=b"", held=None)
            return (await self._forwarding.ask(about, "GET", [(b"origin", origin), *cookie])).headers

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
        return not request.path.startswith(self._prefix)

"""Answers to refused requests: problem documents, challenges, and redirects to the canonical path."""

from __future__ import annotations

from collections.abc import Callable

from compat_auth.errors import CompatAuthError, InvalidPath, TokenEnded
from compat_auth.gateway.decision import Refused, Unclaimed
from compat_auth.http.asgi import Receive, Scope, Send, respond, respond_rendered
from compat_auth.http.challenges import ChallengeContext, caller_of, is_bearer, with_bearer
from compat_auth.http.error_responses import ErrorStyle, RenderedError
from compat_auth.http.paths import canonical_query
from compat_auth.http.problem import PROBLEM_JSON, problem_body
from compat_auth.http.request import GateRequest
from compat_auth.telemetry import counts

ShowError = Callable[[GateRequest, RenderedError], RenderedError]
"""Returns a page in place of a problem document if a person will see it; the document otherwise."""


class Refusals:
    """Answers refused requests: every challenge on a 401, nothing that a cache may keep.

    Args:
        style: How refusals look.
        challenges: Those of the chain.
        metadata_url: The URL that says which server issues tokens for the upstream, "" if it is unknown; None:
            there is none.
        show_error: See `ShowError`; None: everybody gets the document.

    Attributes:
        style: As given.
        challenges: As given.
    """

    def __init__(
        self,
        style: ErrorStyle,
        challenges: tuple[str, ...],
        metadata_url: Callable[[GateRequest], str] | None = None,
        show_error: ShowError | None = None,
    ) -> None:
        self.style = style
        self.challenges = challenges
        self._to_bearers = with_bearer(challenges) if style.mode == "strict" else challenges
        self._metadata_url = metadata_url
        self._show_error = show_error

    async def send(
        self, send: Send, refusal: CompatAuthError | Refused | Unclaimed, request: GateRequest | None
    ) -> None:
        """Answer a refused request.

        Args:
            send: To the caller.
            refusal: Why.
            request: As it came; None if it could not be read.
        """
        counts.refusals.add(_reason_of(refusal))
        if request is not None and _is_refusal(refusal):
            request.outcome.is_refused = True
        context = self.context(request)
        if isinstance(refusal, CompatAuthError):
            # What stands behind takes Bearers, whether or not a backend of ours does.
            challenges = self._to_bearers if isinstance(refusal, TokenEnded) else self.challenges
            rendered = self.style.render_error(refusal, challenges, context=context)
        else:
            status = refusal.status if isinstance(refusal, Refused) else 401
            rendered = self.style.render(status, refusal.challenges, context=context)
        if self._show_error is not None and request is not None:
            rendered = self._show_error(request, rendered)
        await respond_rendered(send, rendered)

    def www_authenticate(self, challenges: tuple[str, ...], request: GateRequest) -> tuple[str, ...]:
        """Return the challenges of a 401 to the request."""
        return self.style.www_authenticate(challenges, self.context(request))

    def context(self, request: GateRequest | None) -> ChallengeContext:
        """Return the parts of a request that its challenges depend on."""
        if request is None:
            return ChallengeContext()
        authorization = request.intake.authorization
        return ChallengeContext(
            is_bearer(None if authorization is None else authorization.decode("latin-1")),
            "" if self._metadata_url is None else self._metadata_url(request),
            caller_of(request.intake.kept),
        )


def _is_refusal(refusal: CompatAuthError | Refused | Unclaimed) -> bool:
    """Return whether it is the caller's doing: an unavailable server refuses nobody."""
    return not isinstance(refusal, CompatAuthError) or refusal.status < 500


def _reason_of(refusal: CompatAuthError | Refused | Unclaimed) -> str:
    """Return the reason as a metric names it: the kind of the error, never its text."""
    if isinstance(refusal, Unclaimed):
        return "NotClaimed"
    return "CredentialRefused" if isinstance(refusal, Refused) else type(refusal).__name__


async def respond_moved(send: Send, path: bytes, raw_query: bytes) -> None:
    """Answer 308 to a path with empty segments: the client asks again, and nothing of this request has been used.

    Args:
        send: To the caller.
        path: The canonical path, or a URL with such a path.
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


async def refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 501 to a WebSocket; where the server cannot send that, close it."""
    await receive()
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    body = problem_body(501, detail="WebSocket connections are not passed on; call the upstream directly")
    headers = [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "websocket.http.response.start", "status": 501, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})

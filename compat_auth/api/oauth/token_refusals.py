"""The refusals of `/auth/token`: Airflow's words, a problem of RFC 9457, or an error of OAuth."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from compat_auth.errors import (
    CompatAuthError,
    IncompleteLogin,
    InsufficientScope,
    MalformedCredentials,
    StageRefusal,
    TokenRequestRefused,
)
from compat_auth.gateway.refusals import Refusals
from compat_auth.http.asgi import RawHeaders, Send, respond
from compat_auth.http.challenges import ask_for_scope
from compat_auth.http.problem import PROBLEM_JSON, problem_body
from compat_auth.http.request import GateRequest

NO_STORE: RawHeaders = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
JSON = b"application/json"
_CLIENT_CHALLENGE = b'Basic realm="token endpoint"'
_DETAILS = {401: "Invalid credentials", 403: "Forbidden"}


@dataclass(frozen=True, slots=True)
class TokenRefusals:
    """Refuses a token.

    Attributes:
        gates: Refusals that are not the endpoint's own.
        challenges: Returns those of the chain.
        incomplete_status: The status of Airflow's auth manager for a body without user name or password.
        words_of_airflow: Refusals have exactly Airflow's text.
    """

    gates: Refusals
    challenges: Callable[[], tuple[str, ...]]
    incomplete_status: int
    words_of_airflow: bool

    async def send_error(self, send: Send, error: CompatAuthError, request: GateRequest) -> None:
        """Answer with an error."""
        request.outcome.is_refused = error.status < 500
        if isinstance(error, IncompleteLogin):
            await self._send(send, self.incomplete_status, str(error), [])
        elif isinstance(error, InsufficientScope):
            challenge = ask_for_scope(error.needed, self.gates.context(request)).encode("ascii")
            detail = str(error) or _DETAILS[403]
            await self._send(send, error.status, detail, [(b"www-authenticate", challenge)])
        elif error.status in _DETAILS and not isinstance(error, StageRefusal):
            detail = str(error) if isinstance(error, MalformedCredentials) else ""
            await self.send(send, error.status, detail or _DETAILS[error.status], self.challenges(), request)
        else:
            await self.gates.send(send, error, request)

    async def send(
        self, send: Send, status: int, detail: str, challenges: tuple[str, ...], request: GateRequest
    ) -> None:
        """Answer with a status; a 401 has challenges."""
        request.outcome.is_refused = True
        sent = self.gates.www_authenticate(challenges, request) if status == 401 else ()
        headers = [(b"www-authenticate", challenge.encode("latin-1")) for challenge in sent]
        await self._send(send, status, detail, headers)

    async def _send(self, send: Send, status: int, detail: str, headers: RawHeaders) -> None:
        if self.words_of_airflow:
            body, content_type = json.dumps({"detail": detail}).encode(), JSON
        else:
            body, content_type = problem_body(status, detail=detail), PROBLEM_JSON.encode()
        await respond(send, status, body, content_type=content_type, headers=[*NO_STORE, *headers])


async def send_oauth_error(send: Send, error: TokenRequestRefused, request: GateRequest) -> None:
    """Answer a grant of OAuth with its error (RFC 6749 section 5.2)."""
    content = {"error": error.code, "error_description": str(error)}
    status, headers = 400, [*NO_STORE]
    if error.code == "invalid_client":
        # 401, with a challenge where the client has used the header.
        status = 401
        headers += [(b"www-authenticate", _CLIENT_CHALLENGE)] if request.intake.authorization is not None else []
    await respond(send, status, json.dumps(content).encode(), content_type=JSON, headers=headers)

"""Error responses: our own style, or exactly Airflow 2.11's. No I/O, no Flask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compat_auth.errors import CompatAuthError, InsufficientScope, RequestRefused, StageRefusal
from compat_auth.http.challenges import ChallengeContext, ask_for_scope, challenges_for, www_authenticate
from compat_auth.http.problem import PROBLEM_JSON, airflow2_body, problem_body

_UNAUTHORIZED = 401
_FORBIDDEN = 403
_NO_CONTEXT = ChallengeContext()


@dataclass(frozen=True, slots=True)
class RenderedError:
    """An error response, ready to send.

    Attributes:
        status: HTTP status.
        headers: Without Content-Type and Content-Length.
        body: JSON, unless the type is another one.
        content_type: Type of the body.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    content_type: str = PROBLEM_JSON


@dataclass(frozen=True, slots=True)
class ErrorStyle:
    """Style of error responses.

    Attributes:
        mode: "strict", or "airflow2" for the texts of Airflow 2.11.
        public_role: mode "airflow2": whether Airflow 2's AUTH_ROLE_PUBLIC is set, which turns its 401 into 403.
    """

    mode: Literal["strict", "airflow2"] = "strict"
    public_role: bool = False

    def render(
        self,
        status: int,
        challenges: tuple[str, ...] = (),
        detail: str | None = None,
        *,
        context: ChallengeContext = _NO_CONTEXT,
    ) -> RenderedError:
        """Return the response to a refused credential; a 401 has challenges (RFC 9110 section 15.5.2)."""
        if self.mode == "airflow2":
            # With a public role, Airflow 2 treats the caller as an anonymous user, who is not permitted.
            status = _FORBIDDEN if self.public_role else status
            body = airflow2_body(status)
        else:
            body = problem_body(status, detail=detail)
        headers = [("Cache-Control", "no-store")]
        if status == _UNAUTHORIZED:
            headers.extend(("WWW-Authenticate", challenge) for challenge in self.www_authenticate(challenges, context))
        return RenderedError(status, tuple(headers), body)

    def www_authenticate(self, challenges: tuple[str, ...], context: ChallengeContext) -> tuple[str, ...]:
        """Return the challenges of a 401 as they are sent: none that makes a browser open a password dialog.

        Those of Airflow 2 say nothing about the token in the request.
        """
        challenges = challenges_for(context.caller, challenges)
        return challenges if self.mode == "airflow2" else www_authenticate(challenges, context)

    def render_error(
        self, error: CompatAuthError, challenges: tuple[str, ...] = (), *, context: ChallengeContext = _NO_CONTEXT
    ) -> RenderedError:
        """Return the response for an error; only errors about the request's form include details."""
        if isinstance(error, StageRefusal):
            return self._render_stage(error, context)
        detail = str(error) if isinstance(error, RequestRefused) and str(error) else None
        if error.status == _UNAUTHORIZED:
            return self.render(error.status, challenges, detail, context=context)
        headers = [("Cache-Control", "no-store")]
        if error.retry_after_s is not None:
            headers.append(("Retry-After", str(error.retry_after_s)))
        if isinstance(error, InsufficientScope):
            headers.append(("WWW-Authenticate", ask_for_scope(error.needed, context)))
        if error.status == _FORBIDDEN and self.mode == "airflow2":
            return RenderedError(error.status, tuple(headers), airflow2_body(error.status))
        return RenderedError(error.status, tuple(headers), problem_body(error.status, title=error.title, detail=detail))

    def _render_stage(self, error: StageRefusal, context: ChallengeContext) -> RenderedError:
        """Return the response to the use of a login that ends: with its explanation, in every style."""
        headers = [("Cache-Control", "no-store"), *error.headers]
        if error.retry_after_s is not None:
            headers.append(("Retry-After", str(error.retry_after_s)))
        if error.status == _UNAUTHORIZED:
            offered = self.www_authenticate(error.challenges, context)
            headers.extend(("WWW-Authenticate", challenge) for challenge in offered)
        # Airflow 2 had no such answer, but its clients show title and detail of this form.
        return RenderedError(
            error.status, tuple(headers), problem_body(error.status, title=error.title, detail=str(error))
        )

"""Our errors and the upstream's, in the format of Airflow 2.11. No I/O."""

from __future__ import annotations

from http import HTTPStatus

from compat_auth.airflow.v1.messages import Answer, Reply
from compat_auth.crypto.strict_json import is_list, is_object
from compat_auth.http.problem import PROBLEM_JSON, airflow2_body

_MAX_DETAIL = 2000
_UNROUTED = "API route not found"
# The upstream's texts for a token that it rejects, with any status (`airflow.api_fastapi.core_api.security`).
_TOKEN_REJECTED = frozenset(("Invalid JWT token", "Not authenticated", "Token Expired"))


class V1Problem(Exception):
    """An operation failed; the error is in the format of Airflow 2.11.

    Args:
        status: HTTP status.
        title: The status phrase if empty; None for no title.
        detail: What went wrong.
        routed: See `airflow2_body`.
    """

    def __init__(self, status: int, detail: str | None = None, *, title: str | None = "", routed: bool = True) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.routed = routed

    def reply(self) -> Reply:
        """Return the problem as a reply."""
        body = airflow2_body(self.status, title=self.title, detail=self.detail, routed=self.routed)
        return Reply(self.status, body, PROBLEM_JSON)


def bad_request(detail: str, title: str | None = "") -> V1Problem:
    """Return a 400."""
    return V1Problem(HTTPStatus.BAD_REQUEST, detail, title=title)


def not_found(title: str = "", detail: str | None = None) -> V1Problem:
    """Return a 404."""
    return V1Problem(HTTPStatus.NOT_FOUND, detail, title=title)


def problem_of(answer: Answer) -> V1Problem:
    """Return the upstream's error in 2.11's format; only its message is passed on."""
    message = message_of(answer)
    status = answer.status
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        # 2.x has one status for every invalid request.
        status = HTTPStatus.BAD_REQUEST
    elif status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        status = HTTPStatus.UNAUTHORIZED if message in _TOKEN_REJECTED else status
        return V1Problem(status)
    elif status < HTTPStatus.BAD_REQUEST or status not in set(HTTPStatus):
        return V1Problem(HTTPStatus.BAD_GATEWAY, "the upstream's answer does not belong to its API")
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        # The message may quote SQL and values.
        message = None
    return V1Problem(status, message)


def rejects_token(answer: Answer) -> bool:
    """Return whether the upstream rejects the token itself."""
    return message_of(answer) in _TOKEN_REJECTED


def is_unrouted(answer: Answer) -> bool:
    """Return whether the upstream has no such route, as opposed to no such object."""
    if answer.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        return False
    try:
        document: object = answer.json()
    except ValueError:
        return True
    return is_object(document) and (
        document.get("error") == _UNROUTED or document.get("detail") in ("Not Found", "Method Not Allowed")
    )


def message_of(answer: Answer) -> str | None:
    """Return the upstream's error message on one line."""
    try:
        document: object = answer.json()
    except ValueError:
        return None
    detail: object = document.get("detail", document.get("error")) if is_object(document) else None
    text = _detail_text(detail)
    return text[:_MAX_DETAIL] if text is not None else None


def reason_of(answer: Answer) -> str:
    """Return the machine-readable reason of a conflict, such as "Unique constraint violation"."""
    try:
        document: object = answer.json()
    except ValueError:
        return ""
    detail: object = document.get("detail") if is_object(document) else None
    reason: object = detail.get("reason") if is_object(detail) else None
    return reason if isinstance(reason, str) else ""


def _detail_text(detail: object) -> str | None:
    if isinstance(detail, str):
        return detail
    if is_list(detail):
        return "; ".join(filter(None, (_detail_text(part) for part in detail))) or None
    if is_object(detail):
        message: object = detail.get("msg", detail.get("reason"))
        where: object = detail.get("loc")
        if isinstance(message, str):
            place = ".".join(str(part) for part in where[1:]) if is_list(where) and len(where) > 1 else ""
            return f"{message} - '{place}'" if place else message
    return None

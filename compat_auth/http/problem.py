"""Errors on the wire: `application/problem+json` (RFC 9457). No I/O, no Flask."""

from __future__ import annotations

import json
from http import HTTPStatus

PROBLEM_JSON = "application/problem+json"
# Airflow 2.11's own values of `type`: strict 2.x clients show them to their users.
_AIRFLOW2_ERRORS = "https://airflow.apache.org/docs/apache-airflow/2.11.2/stable-rest-api-ref.html#section/Errors/"
_AIRFLOW2_TYPES = {
    400: "BadRequest",
    401: "Unauthenticated",
    403: "PermissionDenied",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "AlreadyExists",
    500: "Unknown",
}


def problem_body(status: int, *, title: str = "", detail: str | None = None) -> bytes:
    """Return the JSON body for a status; the title defaults to the status phrase (RFC 9457 section 4.2.1)."""
    content: dict[str, object] = {"type": "about:blank", "title": title or HTTPStatus(status).phrase, "status": status}
    if detail is not None:
        content["detail"] = detail
    return json.dumps(content).encode()


def airflow2_body(status: int, *, title: str | None = "", detail: str | None = None, routed: bool = True) -> bytes:
    """Return the body of an error in Airflow 2.11 (`airflow.api_connexion.exceptions`).

    Args:
        status: HTTP status.
        title: The status phrase when empty; None for no title.
        detail: What went wrong.
        routed: An operation reports it; an error before routing has no type of its own.
    """
    kind = _AIRFLOW2_TYPES.get(status) if routed else None
    content = {
        "detail": detail,
        "status": status,
        "title": HTTPStatus(status).phrase if title == "" else title,
        "type": _AIRFLOW2_ERRORS + kind if kind else "about:blank",
    }
    return json.dumps(content, indent=2).encode() + b"\n"

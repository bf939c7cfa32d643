"""The server's own answer before it closes a connection without the application."""

from __future__ import annotations

from http import HTTPStatus

from compat_auth.http.problem import PROBLEM_JSON, problem_body
from compat_auth.telemetry import counts


def last_answer(status: int, detail: str, *, retry_after_s: int | None = None) -> bytes:
    """Return a complete HTTP/1.1 answer with `Connection: close` (RFC 9112 section 9.6).

    Args:
        status: HTTP status.
        detail: What went wrong.
        retry_after_s: Seconds until a retry makes sense (RFC 9110 section 10.2.3).
    """
    counts.refusals.add(f"Server{status}")
    body = problem_body(status, detail=detail)
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"content-type: {PROBLEM_JSON}",
        f"content-length: {len(body)}",
        "cache-control: no-store",
        "connection: close",
        *([] if retry_after_s is None else [f"retry-after: {retry_after_s}"]),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

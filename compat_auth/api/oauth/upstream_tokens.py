"""Requests for a token that the upstream itself answers: its own login, or a grant that only it supports.

The same limit on guesses applies as to our own answers: the caller counts as one of the tries of its address, and each
answer gets a line in the audit log.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from compat_auth import audit
from compat_auth.api.oauth.token_request import Login
from compat_auth.crypto.personal_token_format import looks_like_one
from compat_auth.crypto.strict_json import parse_object
from compat_auth.gateway.admission import Admission
from compat_auth.http.asgi import RawHeaders, Receive, Send, replayed
from compat_auth.http.request import GateRequest

# Airflow's managers say one or the other to a wrong password or secret.
WRONG = frozenset((401, 403))
_BACKEND = "upstream"
_OF_BODY = frozenset((b"content-type", b"content-length", b"transfer-encoding"))


async def judged_by_upstream(
    admission: Admission, request: GateRequest, body: bytes, receive: Receive, send: Send, *, username: str = ""
) -> bool:
    """Let the upstream answer, and return whether it has refused the credential.

    Args:
        admission: To the upstream.
        request: The request for the upstream.
        body: The whole body.
        receive: Receives the events after the body.
        send: To the caller.
        username: As claimed, for the audit log.

    Raises:
        CompatAuthError: The upstream cannot be asked, or the audit log not be written; nothing has been sent then.
    """
    statuses: list[int] = []

    async def send_audited(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
            audit.record(_audit_event(request, message["status"], username))
        await send(message)

    await admission.admit(request, replayed(body, receive), send_audited)
    return not WRONG.isdisjoint(statuses)


def may_see(login: Login) -> bool:
    """Return whether the upstream may see a login: a personal token is our secret, wherever somebody typed it."""
    return not (looks_like_one(login.username) or looks_like_one(login.password))


def as_json(request: GateRequest, login: Login) -> tuple[GateRequest, bytes]:
    """Return the request and the body of a login in Airflow's own words: FabAuthManager reads no form."""
    body = json.dumps({"username": login.username, "password": login.password}).encode()
    kept: RawHeaders = [header for header in request.intake.kept if header[0] not in _OF_BODY]
    kept += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    return replace(request, intake=replace(request.intake, kept=kept)), body


def holds_no_text(body: bytes) -> bool:
    """Return whether a user name or a password in JSON is no text: FabAuthManager then answers 500."""
    try:
        found = parse_object(body)
    except ValueError:
        return False
    return any(not isinstance(found.get(name) or "", str) for name in ("username", "password"))


def _audit_event(request: GateRequest, status: int, username: str) -> audit.AuditEvent:
    if status < 300:
        result, reason = "issue", ""
    else:
        result, reason = "unavailable" if status >= 500 else "reject", f"the upstream's own login answered {status}"
    path = request.path.decode("ascii")
    return audit.AuditEvent(result, _BACKEND, username, reason, request.method, path, request.client)

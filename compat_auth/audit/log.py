"""The audit log: one event for each authentication decision, as a JSON line on the logger `compat_auth.audit`.

An event says who, by which backend, with what result and why; never a credential, a token or a whole header. Also here:
how to log an exception by its class and place, without its message, which may hold a secret.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from compat_auth.audit.names import masked, shown_name
from compat_auth.concurrency.current_request import REQUEST_ID
from compat_auth.crypto.personal_token_format import without_secrets
from compat_auth.telemetry import counts
from compat_auth.telemetry.access_log import without_tokens

logger = logging.getLogger("compat_auth.audit")
checks: list[Callable[[], None]] = []
"""Called after each line; raise to stop the request, where it needs an audit line. See `compat_auth.audit.losses`."""
# The caller chooses the user name, so texts in a line are truncated and lose control characters.
_MAX_TEXT = 256
# With these results the user name is unverified.
_CLAIMED = frozenset(("reject", "challenge", "skip", "unavailable"))


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """A decision about one credential.

    Attributes:
        result: "accept", "reject", "challenge", "skip", "unavailable", "logout", "issue", "create" or "change".
        backend: Configured name, or "" when no backend decided.
        username: The verified name, or after a refusal the claimed one, masked if it could be a password or token.
        reason: Why, for the operator.
        method: Request method.
        path: Canonical path, without the query.
        client: Address of the peer.
        names_nobody: No source knows the name, so it may be a password typed by mistake: it is masked.
        actor: Verified name of the caller who acts for the user, or "".
    """

    result: str
    backend: str
    username: str
    reason: str
    method: str
    path: str
    client: str
    names_nobody: bool = False
    actor: str = ""


def record(event: AuditEvent) -> None:
    """Write an event to the audit log.

    Raises:
        BackendUnavailable: The log cannot be written, and the operator wants requests refused then.
    """
    counts.decisions.add(event.backend, event.result, "chain")
    if not logger.isEnabledFor(logging.INFO):
        return
    username = without_secrets(event.username)[:_MAX_TEXT]
    if event.names_nobody:
        username = masked(username) if username else ""
    elif event.result in _CLAIMED:
        username = shown_name(username)
    fields = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "event": "verdict",
        "result": event.result,
        "backend": event.backend,
        "username": username,
        "reason": without_secrets(event.reason)[:_MAX_TEXT],
        "method": event.method,
        "path": without_tokens(event.path)[:_MAX_TEXT],
        "client": event.client,
    }
    if request_id := REQUEST_ID.get():
        fields["request_id"] = request_id
    if event.actor:
        fields["actor"] = without_secrets(event.actor)[:_MAX_TEXT]
    # json.dumps escapes control characters, so a user name cannot forge a line.
    logger.info("%s", json.dumps(fields))
    for check in checks:
        check()


def describe_exception(error: BaseException) -> str:
    """Return the class of an exception and where it was raised, innermost last.

    Never its message: the author of `raise ValueError(f"cannot check {password}")` did not think of logs.
    """
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    return " > ".join((type(error).__name__, *places))


def where_raised(error: BaseException) -> str:
    """Return the file and line where an exception of third-party code was raised, or where its source is wrong."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"

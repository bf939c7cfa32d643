"""One event per verdict, as a JSON line on the logger `compat_auth.audit`.

An event says who, by which backend, with what result and why; never a credential, a token or a whole header.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from compat_auth.audit.names import masked, shown_name
from compat_auth.crypto.personal_token_format import without_secrets

logger = logging.getLogger("compat_auth.audit")
checks: list[Callable[[], None]] = []
"""Called after each line; they raise where nothing is to happen without one. See `compat_auth.audit.losses`."""
# A caller chooses the user name: what goes into a line of the log is cut and has no control characters.
_MAX_TEXT = 256
# Nobody has vouched for whom these name.
_CLAIMED = frozenset(("reject", "challenge", "skip", "unavailable"))


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What was decided about one presented credential.

    Attributes:
        result: "accept", "reject", "challenge", "skip", "unavailable", "logout", "issue" or "create".
        backend: Configured name, or "" when no backend spoke.
        username: As vouched for, or as claimed when refused: then it is masked where it could be a password or token.
        reason: Why, for the operator.
        method: Request method.
        path: Canonical path, without the query.
        client: Address of the peer.
        names_nobody: No source knows such a user, so what was typed as a name may be a password: it is masked.
    """

    result: str
    backend: str
    username: str
    reason: str
    method: str
    path: str
    client: str
    names_nobody: bool = False


def record(verdict: AuditEvent) -> None:
    """Write the verdict to the audit log.

    Raises:
        BackendUnavailable: It could not be written, and the operator wants that to be refused.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    username = without_secrets(verdict.username)[:_MAX_TEXT]
    if verdict.names_nobody:
        username = masked(username) if username else ""
    elif verdict.result in _CLAIMED:
        username = shown_name(username)
    event = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "event": "verdict",
        "result": verdict.result,
        "backend": verdict.backend,
        "username": username,
        "reason": without_secrets(verdict.reason)[:_MAX_TEXT],
        "method": verdict.method,
        "path": without_secrets(verdict.path)[:_MAX_TEXT],
        "client": verdict.client,
    }
    # json.dumps escapes control characters: a user name cannot forge a line.
    logger.info("%s", json.dumps(event))
    for check in checks:
        check()


def describe_exception(accident: BaseException) -> str:
    """Return the class of an exception and where it was raised, innermost last.

    Never its message: whoever wrote `raise ValueError(f"cannot check {password}")` had no log in mind.
    """
    frames = traceback.extract_tb(accident.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    return " > ".join((type(accident).__name__, *places))


def where_raised(accident: BaseException) -> str:
    """Return the file and line where an exception of somebody else's code was raised, or where its source is wrong."""
    if isinstance(accident, SyntaxError):
        return f"{accident.filename}:{accident.lineno}"
    frames = traceback.extract_tb(accident.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "a place that is not known"

"""The access log: one line for each request, on the logger `compat_auth.access`, if `log.access` is on.

A line never has a query, a header or a body, and a name in it is verified.
"""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import dataclass

from compat_auth.crypto.personal_token_format import without_secrets

logger = logging.getLogger("compat_auth.access")

_MAX_TEXT = 1024
# A client may put a token into a path; the log does not repeat it.
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*")
# RFC 3986 section 2.3: encoded or not, an unreserved character is the same one.
_ENCODED = re.compile("%(2[DEde]|3[0-9]|4[1-9A-Fa-f]|5[0-9AFaf]|6[1-9A-Fa-f]|7[0-9AEae])")


@dataclass(slots=True)
class AccessOptions:
    """Whether this process writes the access log.

    Attributes:
        is_on: Whether it does.
    """

    is_on: bool = False


OPTIONS = AccessOptions()
"""Those of this process."""


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """One request.

    Attributes:
        request_id: Its id.
        method: Its method.
        path: Its path, without the query.
        client: Address of the caller, as far as trusted proxies vouch for it.
        status: Status of the answer; 0 where the client left before there was one.
        duration_s: Seconds until the end of the answer.
        sent_bytes: Bytes of the answer's body.
        backend: Name of the backend that vouches for the caller, or "".
        username: The caller's verified name, or "".
    """

    request_id: bytes
    method: str
    path: bytes
    client: str
    status: int
    duration_s: float
    sent_bytes: int
    backend: str = ""
    username: str = ""


def shown_path(path: bytes) -> str:
    """Return a path as logs and traces show it: without the query, without tokens, at most 1,024 characters."""
    return without_tokens(path.partition(b"?")[0].decode("latin-1"))[:_MAX_TEXT]


def without_tokens(path: str) -> str:
    """Return a path with every JWT and personal token in it cut, in any spelling."""
    plain = _ENCODED.sub(lambda found: chr(int(found[1], 16)), path)
    return without_secrets(_JWT.sub("eyJ…", plain))


def write_access(access: AccessEntry) -> None:
    """Write one line."""
    fields = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "event": "request",
        "request_id": access.request_id.decode("ascii"),
        "method": access.method,
        "path": shown_path(access.path),
        "status": access.status,
        "duration_ms": round(access.duration_s * 1000, 3),
        "bytes": access.sent_bytes,
        "backend": access.backend,
        "username": without_secrets(access.username)[:256],
        "client": access.client,
    }
    # json.dumps escapes control characters, so a path cannot forge a line.
    logger.info("%s", json.dumps(fields))

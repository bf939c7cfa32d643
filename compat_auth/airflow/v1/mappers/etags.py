"""Opaque tokens of `/api/v1` for a DAG's file and a position in a log. They give no access, so they are unsigned. No I/O."""

from __future__ import annotations

import base64
import json

from compat_auth.crypto.strict_json import is_list

_VERSION = 1


def pack(kind: str, value: object) -> str:
    """Return a value as a token that is safe in a path and a query."""
    text = json.dumps([_VERSION, kind, value], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode("ascii")


def unpack(kind: str, token: str) -> str | None:
    """Return the text in one of our tokens; None for any other token, such as one of a 2.x server."""
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not is_list(found) or len(found) != 3:
        return None
    version, known, value = found
    return value if version == _VERSION and known == kind and isinstance(value, str) else None

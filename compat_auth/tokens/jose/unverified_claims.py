"""Claims of a token that nobody has verified: each a value of a known type. No I/O, no Flask."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compat_auth.crypto.strict_json import is_object

# Claims in a JWT of Airflow that are themselves tokens of Keycloak.
NESTED = ("access_token", "refresh_token")


@dataclass(frozen=True, slots=True)
class ClaimedToken:
    """Unverified claims of a token: enough to refuse it, never to trust it.

    Every value has its type from RFC 7519 section 4.1 and, if it is text, can be stored in a database; a claim that
    does not fit counts as missing.

    Attributes:
        jti: Its `jti`, or "".
        sub: Its subject, or "". An integer becomes its digits, because some verifiers compare it so.
        issued: `iat`, or None; a fraction of a second (RFC 7519 section 2) is rounded down.
        expires: `exp`, or None; a fraction of a second is rounded up, so that a revoked token stays revoked to its end.
    """

    jti: str
    sub: str
    issued: int | None
    expires: int | None


def read_claimed(token: str) -> ClaimedToken | None:
    """Return the claims of the text if it is a JWT, whatever its header and signature are; None for anything else.

    For revocation: a token whose signature is spelled differently (padding, spare bits) is the same token to a less
    strict verifier. The payload has only one spelling, because it is what was signed.
    """
    claims = read_payload(token)
    return None if claims is None else claimed_in(claims)


def read_payload(token: str) -> Mapping[str, Any] | None:
    """Return the raw claims of a JWT that another component has verified.

    For any other token use `read_claimed`: here a claim may have any type.
    """
    segments = token.split(".")
    if len(segments) < 3:
        return None
    try:
        # Parsed as an upstream parses it: depth and duplicate members do not matter here.
        payload: object = json.loads(base64.urlsafe_b64decode(segments[1] + "=" * (-len(segments[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    return payload if is_object(payload) else None


def nested_ends(token: str) -> tuple[int, ...]:
    """Return the `exp` of each token that a JWT carries as a claim.

    Airflow's KeycloakAuthManager puts Keycloak's own tokens into its JWT, which is useless once they have expired.
    """
    payload = read_payload(token) or {}
    carried = [value for name in NESTED if isinstance(value := payload.get(name), str)]
    return tuple(inner.expires for value in carried if (inner := read_claimed(value)) and inner.expires is not None)


def claimed_in(claims: Mapping[str, Any]) -> ClaimedToken:
    """Return the claims of a token, each with its required type."""
    sub = claims.get("sub")
    return ClaimedToken(
        _text(claims.get("jti")),
        str(sub) if type(sub) is int else _text(sub),
        _whole(claims.get("iat"), math.floor),
        _whole(claims.get("exp"), math.ceil),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        return ""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        # Half a surrogate pair: no database can store it, so it equals nothing that is stored.
        return ""
    return value


def _whole(value: object, rounded: Callable[[float], int]) -> int | None:
    if type(value) is float and math.isfinite(value):
        value = rounded(value)
    # A bool is an int to Python, and no database stores an integer of more than 63 bits.
    return value if type(value) is int and abs(value) < 2**63 else None

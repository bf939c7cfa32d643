"""What a token says of itself before anybody has verified it: each claim a value of a known type. No I/O, no Flask."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compat_auth.crypto.strict_json import is_object

# The claims of a JWT of Airflow's that are tokens of Keycloak's.
NESTED = ("access_token", "refresh_token")


@dataclass(frozen=True, slots=True)
class ClaimedToken:
    """What a token says of itself, whoever wrote it: enough to refuse it, never to trust it.

    Every value has the type that RFC 7519 section 4.1 gives it, and is text that a database stores; what a token says
    otherwise counts as not said.

    Attributes:
        jti: Its own name, or "".
        sub: Whose it is, or "". A whole number counts as its digits: some verifiers compare it so.
        issued: `iat`, or None.
        expires: `exp`, or None.
    """

    jti: str
    sub: str
    issued: int | None
    expires: int | None


def read_claimed(token: str) -> ClaimedToken | None:
    """Return what the text says as a JWT, whatever its header and signature are; None for anything else.

    For what is to be refused: a token whose signature is spelled in another way (padding, loose bits) is the same token
    to a verifier that is less strict than we are. The payload has one spelling: it is what was signed.
    """
    claims = read_payload(token)
    return None if claims is None else claimed_in(claims)


def read_payload(token: str) -> Mapping[str, Any] | None:
    """Return the claims of what looks like a JWT as they are: only for one that another has verified.

    For all others there is `read_claimed`: a claim may be of any type.
    """
    segments = token.split(".")
    if len(segments) < 3:
        return None
    try:
        # As verifiers behind us read it: depth and doubled members do not matter here.
        payload: object = json.loads(base64.urlsafe_b64decode(segments[1] + "=" * (-len(segments[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    return payload if is_object(payload) else None


def nested_ends(token: str) -> tuple[int, ...]:
    """Return the `exp` of each token that a JWT carries as a claim, where it has one.

    Airflow's KeycloakAuthManager puts Keycloak's own tokens into its JWT, which is worth nothing once they have ended.
    """
    payload = read_payload(token) or {}
    carried = [value for name in NESTED if isinstance(value := payload.get(name), str)]
    return tuple(inner.expires for value in carried if (inner := read_claimed(value)) and inner.expires is not None)


def claimed_in(claims: Mapping[str, Any]) -> ClaimedToken:
    """Return the claims of a token with the types that they must have."""
    sub = claims.get("sub")
    return ClaimedToken(
        _text(claims.get("jti")),
        str(sub) if type(sub) is int else _text(sub),
        _whole(claims.get("iat")),
        _whole(claims.get("exp")),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        return ""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        # Half a surrogate pair: no database stores it, so nothing that is stored can equal it.
        return ""
    return value


def _whole(value: object) -> int | None:
    # A bool is an int to Python, and no database stores a number of more than 63 bits.
    return value if type(value) is int and abs(value) < 2**63 else None

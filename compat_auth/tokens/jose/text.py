"""The text of a JWT (RFC 7515 section 7.1) read so that there is one reading only. No I/O, no keys."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compat_auth.crypto.strict_json import parse_object
from compat_auth.errors import InvalidToken

MAX_TOKEN_BYTES = 8192
_SEGMENT = re.compile(r"[A-Za-z0-9_-]+\Z")
# crit: we understand no extension (RFC 7515 4.1.11). jwk, jku, x5u and x5c bring, or point to, a key of the sender's
# choice. The thumbprints (RFC 7515 4.1.7 and 4.1.8) bring none, and we choose by kid: they are allowed, and ignored.
_REFUSED_HEADERS = frozenset({"crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc"})
_MEDIA_PREFIX = "application/"


@dataclass(frozen=True, slots=True)
class TokenParts:
    """What a JWT says, not yet verified.

    Attributes:
        header: Its JOSE header.
        payload: Its claims.
    """

    header: Mapping[str, Any]
    payload: Mapping[str, Any] = field(repr=False)


def split_token(token: str) -> TokenParts:
    """Return the two JSON objects of a compact JWS.

    Raises:
        InvalidToken: The text is not a well-formed JWT; says why, for logs only.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken(f"longer than {MAX_TOKEN_BYTES} bytes")
    segments = token.split(".")
    if len(segments) != 3:  # RFC 7515 7.1: header, payload, signature
        raise InvalidToken("not three parts")
    header, payload, _ = (_decode(segment) for segment in segments)
    try:
        return TokenParts(parse_object(header), parse_object(payload))
    except ValueError as exc:
        raise InvalidToken(f"JSON: {exc}") from None


def check_header(header: Mapping[str, Any], types: tuple[str, ...]) -> None:
    """Return when the header has one of the types, spelled exactly so, and no member that chooses a key.

    Raises:
        InvalidToken: It has not.
    """
    _refuse_members(header)
    typ = header.get("typ", "")
    if not isinstance(typ, str) or typ not in types:
        raise InvalidToken("header: typ missing or of another kind of token")


def check_issued_header(header: Mapping[str, Any], types: tuple[str, ...]) -> None:
    """Return as `check_header` does, but compare types as media types (RFC 7515 section 4.1.9).

    Raises:
        InvalidToken: The type is another, or a member chooses a key.
    """
    _refuse_members(header)
    typ = header.get("typ", "")
    if not isinstance(typ, str) or _media_type(typ) not in {_media_type(known) for known in types}:
        raise InvalidToken("header: typ missing or of another kind of token")


def _media_type(typ: str) -> str:
    # Only ASCII has lower case here: to Python, the Kelvin sign is a capital k, too.
    lower = typ.lower() if typ.isascii() else typ
    bare = lower.removeprefix(_MEDIA_PREFIX)
    # RFC 7515 4.1.9: the prefix may be left out only where no other slash follows.
    return lower if "/" in bare or not bare else bare


def _refuse_members(header: Mapping[str, Any]) -> None:
    refused = _REFUSED_HEADERS.intersection(header)
    if refused:
        raise InvalidToken(f"header: {min(refused)} is not taken from a token")


def _decode(segment: str) -> bytes:
    if not _SEGMENT.match(segment):
        raise InvalidToken("a part is empty or not base64url")
    try:
        decoded = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error:
        raise InvalidToken("a part is not base64url") from None
    # Trailing bits that decode to nothing would give one token many spellings.
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != segment.encode():
        raise InvalidToken("a part is not canonical base64url")
    return decoded

"""The text of a JWT (RFC 7515 section 7.1), parsed so that only one reading is possible. No I/O, no keys."""

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
# crit: no extension is supported (RFC 7515 4.1.11). jwk, jku, x5u and x5c bring, or point to, a key that the sender
# chooses. The thumbprints (RFC 7515 4.1.7 and 4.1.8) bring none, and the kid selects the key: they are ignored.
_REFUSED_HEADERS = frozenset({"crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc"})
_MEDIA_PREFIX = "application/"


@dataclass(frozen=True, slots=True)
class TokenParts:
    """The header and claims of a JWT, not yet verified.

    Attributes:
        header: Its JOSE header.
        payload: Its claims.
    """

    header: Mapping[str, Any]
    payload: Mapping[str, Any] = field(repr=False)


def split_token(token: str) -> TokenParts:
    """Return the header and payload of a compact JWS.

    Raises:
        InvalidToken: The text is not a well-formed JWT; the message says why, for logs only.
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
    """Raise unless the header has one of the types, case-sensitive, and no member that selects a key.

    Raises:
        InvalidToken: The header is not acceptable.
    """
    _refuse_members(header)
    typ = header.get("typ", "")
    if not isinstance(typ, str) or typ not in types:
        raise InvalidToken("header: typ missing or of another kind of token")


def check_issued_header(header: Mapping[str, Any], types: tuple[str, ...]) -> None:
    """Raise as `check_header` does, but compare types as media types (RFC 7515 section 4.1.9).

    Raises:
        InvalidToken: The header is not acceptable.
    """
    _refuse_members(header)
    typ = header.get("typ", "")
    if not isinstance(typ, str) or _media_type(typ) not in {_media_type(known) for known in types}:
        raise InvalidToken("header: typ missing or of another kind of token")


def _media_type(typ: str) -> str:
    # Lower-case only ASCII: Python would also turn the Kelvin sign into k.
    lower = typ.lower() if typ.isascii() else typ
    bare = lower.removeprefix(_MEDIA_PREFIX)
    # RFC 7515 4.1.9: the prefix may be left out only where no other slash follows.
    return lower if "/" in bare or not bare else bare


def _refuse_members(header: Mapping[str, Any]) -> None:
    refused = _REFUSED_HEADERS.intersection(header)
    if refused:
        raise InvalidToken(f"header: {min(refused)} is not accepted in a token")


def _decode(segment: str) -> bytes:
    if not _SEGMENT.match(segment):
        raise InvalidToken("a part is empty or not base64url")
    try:
        decoded = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error:
        raise InvalidToken("a part is not base64url") from None
    # Spare bits after the last byte would give one token many spellings.
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != segment.encode():
        raise InvalidToken("a part is not canonical base64url")
    return decoded

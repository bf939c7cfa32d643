"""The checks of an ID token beyond those of every JWT, before it logs a user in (OpenID Connect Core 3.1.3.7)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from compat_auth.errors import InvalidToken
from compat_auth.openid import is_list

TYPES = ("JWT", "")  # OpenID Connect gives ID tokens no type of their own


def check(claims: Mapping[str, Any], *, algorithm: str, client_id: str, nonce: str, access_token: str) -> None:
    """Check that the claims of a verified JWT are those of an ID token for this login.

    Args:
        claims: With verified signature, `iss`, `aud`, `exp` and `sub`.
        algorithm: Algorithm of its signature.
        client_id: Ours.
        nonce: The attempt's.
        access_token: The access token that came with it.

    Raises:
        InvalidToken: They are not.
    """
    if "iat" not in claims:
        raise InvalidToken("iat: missing")
    if not _is_same(claims.get("nonce"), nonce):
        raise InvalidToken("nonce: not this attempt's")
    several = is_list(claims.get("aud")) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else client_id) != client_id:
        raise InvalidToken("azp: given to another client")
    if "at_hash" in claims and not _is_same(claims["at_hash"], _half_hash(algorithm, access_token)):
        raise InvalidToken("at_hash: the access token is another")


def _half_hash(algorithm: str, token: str) -> str:
    """Return the left half of a token's hash, as in `at_hash` (OpenID Connect Core 3.1.3.6)."""
    # Ed25519 hashes with SHA-512 (RFC 8032 section 5.1); of the others the last digits tell.
    name = "sha512" if algorithm == "EdDSA" else f"sha{algorithm[-3:]}"
    digest = hashlib.new(name, token.encode("ascii", "replace")).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode("ascii")


def _is_same(found: object, expected: str) -> bool:
    return isinstance(found, str) and hmac.compare_digest(found.encode("utf-8", "replace"), expected.encode())

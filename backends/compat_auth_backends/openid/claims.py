"""Reads the claims of a verified token, in one way only."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from compat_auth.errors import InvalidToken
from compat_auth.openid import is_list

MAX_NAME_CHARS = 256
_CLIENT_CLAIMS = ("client_id", "azp", "appid", "cid")
# RFC 5321 4.1.2: a dot-string and a domain. No quotes, no address literal, nothing outside ASCII: what looks like
# another's address, or is folded into it by a database, is not taken.
_EMAIL = re.compile(
    r"(?=.{3,254}\Z)(?=[^@]{1,64}@)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]\Z"
)


def identifying_part(token: str) -> str:
    """Return the part of a token that its bearer cannot change.

    For a JWT that is the signed part: an ECDSA signature has a second form that is equally valid.
    """
    return token.rpartition(".")[0] if token.count(".") == 2 else token


def credential_id_of(backend: str, token: str) -> str:
    """Return the id by which a token is revoked; it authenticates nobody."""
    return f"{backend}:{hashlib.sha256(identifying_part(token).encode()).hexdigest()}"


def verified_email(claims: Mapping[str, Any]) -> str:
    """Return the e-mail address, which the issuer has verified.

    Raises:
        InvalidToken: There is none, it is not a plain one, or it is not verified.
    """
    email = claims.get("email")
    if not isinstance(email, str) or not _EMAIL.match(email):
        raise InvalidToken("email: missing, or not a plain ASCII address")
    if not is_email_verified(claims):
        raise InvalidToken("email_verified: not true")
    return email


def is_email_verified(claims: Mapping[str, Any]) -> bool:
    """Return whether the issuer has verified the e-mail address: true, or the text "true" of Cognito and others."""
    verified = claims.get("email_verified")
    # Nothing else: the text "false" and the number 2 are true to many a parser.
    return verified is True or verified == "true"


def client_of(claims: Mapping[str, Any]) -> object:
    """Return the client that the token was issued to, as its issuer calls it; None if the token does not say.

    `client_id` (RFC 9068 section 2.2), `azp` (OpenID Connect), `appid` (Entra v1, ADFS) or `cid` (Okta): the first counts.
    """
    return next((claims[name] for name in _CLIENT_CLAIMS if name in claims), None)


def moment_of(claims: Mapping[str, Any], name: str) -> int | None:
    """Return a time in whole seconds since the epoch, rounded down; None if there is none, or if it is no time.

    A NumericDate may have a fraction (RFC 7519 section 2).
    """
    value = claims.get(name)
    # A bool is an int to Python.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value >= 1 else None


def name_in(claims: Mapping[str, Any], claim: str) -> str:
    """Return the user name in a claim; an e-mail address only if it is verified.

    Raises:
        InvalidToken: There is none, or it is not a plain name.
    """
    if claim == "email":
        return verified_email(claims)
    name = claims.get(claim)
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS:
        raise InvalidToken(f"{claim}: missing, empty, too long, or not a string")
    # Compatibility forms (full-width letters, ligatures) become another's name in a database that folds them.
    if not name.isprintable() or name != name.strip() or not unicodedata.is_normalized("NFKC", name):
        raise InvalidToken(f"{claim}: not a plain name")
    return name


def scopes_in(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes: `scope` (RFC 9068 section 2.2.3), or `scp` if an issuer has only that."""
    value = claims.get("scope", claims.get("scp"))
    if isinstance(value, str):
        return frozenset(value.split(" ")) - {""}
    if is_list(value) and all(isinstance(item, str) for item in value):
        return frozenset(value)
    return frozenset()

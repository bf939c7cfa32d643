"""The credential of a request: parsed, not yet verified. No I/O, no Flask.

All parts of the project use one parser, so that a front and a back never read a header differently.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

from compat_auth.crypto.personal_token_format import PREFIX
from compat_auth.crypto.personal_token_format import looks_like_one as looks_like_personal_token
from compat_auth.errors import AmbiguousCredentials, MalformedCredentials

__all__ = [
    "ANY_SPELLING",
    "MAX_TOKEN68_BYTES",
    "Absent",
    "Basic",
    "Bearer",
    "Credential",
    "Negotiate",
    "Unrecognised",
    "credential_key",
    "is_token68",
    "looks_like_personal_token",
    "parse_authorization",
    "parse_in_any_spelling",
    "single_authorization",
]

# RFC 9110 11.2: token68, the form of Basic, Bearer and Negotiate credentials.
_TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*\Z")
# RFC 9110 5.6.2: the name of a scheme is a token.
_SCHEME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
# RFC 7617 2: neither part may hold control characters.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_TOKEN_PREFIX = PREFIX.encode("ascii")

ANY_SPELLING = "compat_auth_any_spelling"
"""Key in `app.extensions`, true where a module of Airflow 2 may read an Authorization value with a grammar of its own."""

MAX_TOKEN68_BYTES = 60 * 1024
"""More than this does not fit into a header section that we take in."""


def is_token68(text: str) -> bool:
    """Return whether a text can stand behind a scheme (RFC 9110 section 11.2)."""
    return _TOKEN68.match(text) is not None


@dataclass(frozen=True, slots=True)
class Absent:
    """No Authorization header: only a cookie, or nothing at all."""

    scheme = ""


@dataclass(frozen=True, slots=True)
class Basic:
    """User name and password (RFC 7617), decoded as UTF-8."""

    username: str
    password: str = field(repr=False)
    scheme = "Basic"


@dataclass(frozen=True, slots=True)
class Bearer:
    """A bearer token of any kind (RFC 6750 section 2.1), not looked into."""

    token: str = field(repr=False)
    scheme = "Bearer"


@dataclass(frozen=True, slots=True)
class Negotiate:
    """A SPNEGO token (RFC 4559 section 4), base64-decoded."""

    token: bytes = field(repr=False)
    scheme = "Negotiate"


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """A scheme that none of our backends supports."""

    scheme: str


Credential = Absent | Basic | Bearer | Negotiate | Unrecognised
"""The credential of one request."""


def single_authorization(values: list[bytes]) -> str | None:
    """Return the one Authorization value, or None when there is none.

    Raises:
        AmbiguousCredentials: There are two: a front and a back could believe different ones.
        MalformedCredentials: The value is not ASCII.
    """
    if not values:
        return None
    if len(values) > 1:
        raise AmbiguousCredentials("Authorization: two headers in one request; send one")
    try:
        return values[0].decode("ascii")
    except UnicodeDecodeError:
        raise MalformedCredentials("Authorization: a byte outside ASCII; encode the credential") from None


def authorization_with_api_key(authorization: bytes | None, api_keys: list[bytes]) -> bytes | None:
    """Return the Authorization value of a request that may bring a personal token in a header of its own.

    Args:
        authorization: The Authorization value; None where there is none.
        api_keys: The values of the other header. Values without a personal token count as none: they belong to
            somebody else, such as a module for Airflow 2.

    Returns:
        `Bearer` and the personal token, or `authorization` as it is.

    Raises:
        AmbiguousCredentials: There is more than one value, or another credential beside it.
        MalformedCredentials: A value has more in it than a personal token.
    """
    # In any case, and anywhere in the value: what reads it next may be less strict than we are.
    if not any(_TOKEN_PREFIX in value.lower() for value in api_keys):
        return authorization
    if len(api_keys) > 1 or b"," in api_keys[0]:
        raise AmbiguousCredentials("API key: two in one request; send one")
    try:
        token = api_keys[0].decode("ascii").strip(" \t")
    except UnicodeDecodeError:
        raise MalformedCredentials("API key: a byte outside ASCII; send the personal token alone") from None
    if not looks_like_personal_token(token) or not is_token68(token):
        raise MalformedCredentials("API key: not a personal token alone; send it without a scheme and without quotes")
    if authorization is not None and parse_authorization(authorization.decode("latin-1")) != Bearer(token):
        raise AmbiguousCredentials("API key and Authorization: two credentials in one request; send one of them")
    return b"Bearer " + token.encode("ascii")


def parse_authorization(value: str | None) -> Credential:
    """Return the credential in one Authorization value; schemes compare without case (RFC 9110 section 11.1).

    Raises:
        MalformedCredentials: The value does not follow the grammar of its scheme.
        AmbiguousCredentials: The value holds two credentials, joined by a comma.
    """
    if value is None:
        return Absent()
    scheme, _, rest = value.strip(" \t").partition(" ")
    rest = rest.strip(" \t")
    if not _SCHEME.match(scheme):
        raise MalformedCredentials("Authorization: no scheme; send 'Basic …', 'Bearer …' or 'Negotiate …'")
    match scheme.lower():
        case "basic":
            return _basic(_token68(scheme, rest))
        case "bearer":
            return Bearer(_token68(scheme, rest))
        case "negotiate":
            return Negotiate(_decode(scheme, _token68(scheme, rest)))
        case _:
            return Unrecognised(scheme)


def parse_in_any_spelling(value: str | None) -> Credential:
    """Return the credential; one that does not follow the grammar of its scheme is `Unrecognised`, for a module to read.

    Raises:
        AmbiguousCredentials: The value holds two credentials, joined by a comma.
        MalformedCredentials: There is no scheme, or a control character in the value.
    """
    try:
        return parse_authorization(value)
    except MalformedCredentials:
        scheme, _, rest = (value or "").strip(" \t").partition(" ")
        if not _SCHEME.match(scheme) or not rest or _CONTROL.search(rest):
            raise
        return Unrecognised(scheme)


def credential_key(authorization: str) -> bytes:
    """Return a key that is the same for every spelling of the credential in one Authorization value, and for no other.

    The case of the scheme, the blanks around the credential and the padding bits of base64 are spelling.

    Raises:
        MalformedCredentials, AmbiguousCredentials: See `parse_authorization`.
    """
    return key_of(parse_authorization(authorization), authorization)


def key_of(credential: Credential, authorization: str) -> bytes:
    """Return `credential_key` of an Authorization value that is parsed already.

    Args:
        credential: What `parse_authorization` returned for it.
        authorization: The value.
    """
    match credential:
        case Basic(username, password):
            return b"basic %s:%s" % (username.encode(), password.encode())
        case Bearer(token):
            return b"bearer " + token.encode()
        case Negotiate(token):
            return b"negotiate " + token
        case _:
            # What follows the scheme is its backend's to read, so nothing is known to be spelling.
            return b"as it is " + authorization.encode()


def _token68(scheme: str, rest: str) -> str:
    # Servers join repeated headers with a comma: two credentials, of which only one can be meant.
    if "," in rest:
        raise AmbiguousCredentials(f"Authorization: more than one {scheme} credential; send one")
    if not _TOKEN68.match(rest):
        raise MalformedCredentials(f"Authorization: what follows {scheme} is not base64 or a token")
    return rest


def _decode(scheme: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise MalformedCredentials(f"Authorization: {scheme}: not base64") from exc


def _basic(text: str) -> Basic:
    try:
        # RFC 7617 2.1: we announce charset="UTF-8", so the pair is UTF-8.
        pair = _decode("Basic", text).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise MalformedCredentials("Authorization: Basic: not UTF-8; encode user name and password as UTF-8") from exc
    username, colon, password = pair.partition(":")
    if not colon:
        raise MalformedCredentials("Authorization: Basic: no colon between user name and password")
    # An empty secret is an absent one, everywhere.
    if not username or not password:
        raise MalformedCredentials("Authorization: Basic: empty user name or password")
    if _CONTROL.search(pair):
        raise MalformedCredentials("Authorization: Basic: control characters")
    return Basic(username, password)

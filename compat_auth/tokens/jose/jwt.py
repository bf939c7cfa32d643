"""The only module that signs JWTs, and that says whether one is valid: PyJWT, and a token decides nothing about how it is verified.

PyJWT alone accepts duplicate JSON members, an `exp` in a string, an empty `sub`, a padded signature and any `typ`; each
of these has been half of an attack.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Container, Mapping, Sequence
from typing import Any, cast, get_args

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key
from jwt.algorithms import HMACAlgorithm

from compat_auth.errors import ConfigError, InvalidToken
from compat_auth.tokens.jose.jwk import Algorithm, PublicAlgorithm, SigningKey, VerifyingKey
from compat_auth.tokens.jose.registered_claims import (
    CLOCK_SKEW_S,
    MAX_LIFETIME_S,
    check_parties,
    check_times,
    in_whole_seconds,
    numeric_date,
)
from compat_auth.tokens.jose.text import check_header, check_issued_header, split_token

MIN_SECRET_BYTES = 64  # RFC 7518 3.2: HS512 needs a key of at least 512 bits
SHARED_SECRET_KID = "not-used"  # noqa: S105  # what Airflow 3 puts in its own HS512 headers
_PEM = re.compile(r"BEGIN[A-Z]{0,40}?(KEY|CERTIFICATE)|\ASSH(RSA|ED)|\AECDSASHA")

# One verifier for each algorithm that knows no other: neither a header nor a default can choose.
_ALGORITHMS: tuple[Algorithm, ...] = ("HS512", *get_args(PublicAlgorithm))
_VERIFIERS: dict[Algorithm, jwt.PyJWS] = {name: jwt.PyJWS([name]) for name in _ALGORITHMS}
_URL_SAFE = str.maketrans("+/", "-_")


def sign(claims: Mapping[str, object], key: SigningKey, *, typ: str = "JWT") -> str:
    """Return the claims as a compact JWS (RFC 7515 section 7.1), signed with the key's one algorithm."""
    return jwt.encode(dict(claims), key.secret, algorithm=key.algorithm, headers={"kid": key.kid, "typ": typ})


def verify(
    token: str,
    keys: Mapping[str, VerifyingKey],
    *,
    audience: str | tuple[str, ...],
    issuer: str | None,
    types: tuple[str, ...] = ("JWT",),
    now: float,
    leeway_s: int = CLOCK_SKEW_S,
    max_lifetime_s: int = MAX_LIFETIME_S,
) -> dict[str, Any]:
    """Return the claims of a token that is valid in every respect.

    Args:
        token: As presented.
        keys: Accepted keys by `kid`; each for its own algorithm only.
        audience: What `aud` must be or contain; of several, any one.
        issuer: What `iss` must be; None where the key alone identifies the issuer.
        types: Accepted `typ` in the header, case-sensitive; "" accepts a header without `typ`.
        now: Seconds since the epoch.
        leeway_s: Allowed clock difference, in seconds.
        max_lifetime_s: Longest accepted `exp` - `iat`, in seconds.

    Raises:
        InvalidToken: The token is not valid; the message says why, for logs only.
    """
    parts = split_token(token)
    key = _select_key(parts.header, keys, types)
    _check_signature(token, key)
    check_times(parts.payload, now, leeway_s=leeway_s, max_lifetime_s=max_lifetime_s)
    check_parties(parts.payload, audience, issuer)
    return dict(parts.payload)


def kid_of_plausible(
    token: str,
    *,
    algorithms: Container[object],
    audience: str | tuple[str, ...],
    issuer: str,
    types: tuple[str, ...] = ("JWT",),
    now: float,
    leeway_s: int = CLOCK_SKEW_S,
    max_lifetime_s: int = MAX_LIFETIME_S,
) -> str:
    """Return the `kid` of another issuer's token that is valid but for its signature; "" where it names none.

    Only for such a token is a key worth fetching. Types are compared as media types (RFC 7515 section 4.1.9), and times
    may have a fraction (RFC 7519 section 2).

    Args:
        token: As presented.
        algorithms: Accepted `alg` in the header.
        audience: As for `verify`; so are the arguments below.
        issuer: What `iss` must be.
        types: Accepted `typ` in the header.
        now: Seconds since the epoch.
        leeway_s: Allowed clock difference, in seconds.
        max_lifetime_s: Longest accepted `exp` - `iat`, in seconds.

    Raises:
        InvalidToken: The token is not valid; the message says why, for logs only.
    """
    parts = split_token(token)
    check_issued_header(parts.header, types)
    algorithm = parts.header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise InvalidToken("header: alg is none of those that the issuer may use")
    check_times(parts.payload, now, leeway_s=leeway_s, max_lifetime_s=max_lifetime_s, read_time=numeric_date)
    check_parties(parts.payload, audience, issuer)
    return "" if parts.header.get("kid") is None else _kid(parts.header)


def claims_signed_by(keys: Sequence[VerifyingKey], token: str) -> dict[str, Any]:
    """Return the claims of a plausible token that one of the keys has signed; times are whole seconds, rounded down.

    Args:
        keys: Keys that the token may mean (RFC 7517 section 4.5: one `kid` may name several); each is tried with its
            own algorithm only.
        token: A token that has passed `kid_of_plausible`.

    Raises:
        InvalidToken: None of the keys has signed it; the message says why, for logs only.
    """
    parts = split_token(token)
    fitting = [key for key in keys if key.algorithm == parts.header.get("alg")]
    if not fitting:
        raise InvalidToken("header: alg is not the key's")
    *others, last = fitting
    if not any(_is_signed_by(token, key) for key in others):
        _check_signature(token, last)
    return in_whole_seconds(parts.payload)


def read_unverified(token: str) -> dict[str, Any]:
    """Return the claims without verifying the signature: for routing and expiry times only, never for trust.

    Raises:
        InvalidToken: The text is not a well-formed JWT.
    """
    return dict(split_token(token).payload)


def algorithm_of(token: str) -> str:
    """Return the algorithm in the header of a verified token.

    Raises:
        InvalidToken: The text is not a well-formed JWT, or has no `alg`.
    """
    algorithm = split_token(token).header.get("alg")
    if not isinstance(algorithm, str):
        raise InvalidToken("header: alg missing")
    return algorithm


def shared_secret(secret: str) -> SigningKey:
    """Return the HS512 key for a secret that is shared with the upstream.

    Raises:
        ConfigError: The secret is empty, shorter than 64 bytes, or is a public key.
    """
    if not secret.strip():
        raise ConfigError(
            "[token] secret: missing; set it to Airflow's [api_auth] jwt_secret, as $COMPAT_AUTH_TOKEN__SECRET_FILE"
        )
    try:
        content = secret.encode()
    except UnicodeEncodeError:
        raise ConfigError("[token] secret: not UTF-8; encode it, for example with: openssl rand -base64 64") from None
    if _looks_like_key(secret):
        # With a public key as HMAC secret, everybody who has the key could sign.
        raise ConfigError(
            '[token] secret: this is a key or certificate, not a secret; for keys set strategy = "key_pair"'
        )
    if len(content) < MIN_SECRET_BYTES:
        raise ConfigError(
            f"[token] secret: {len(content)} bytes; HS512 needs at least {MIN_SECRET_BYTES}; make one with "
            "'openssl rand -base64 64 | tr -d \"\\n\"' and set it here and as Airflow's [api_auth] jwt_secret"
        )
    return SigningKey(SHARED_SECRET_KID, "HS512", content)


def shared_secret_verifier(secret: str) -> VerifyingKey:
    """Return the key that verifies signatures of `shared_secret`.

    Raises:
        ConfigError: As `shared_secret`.
    """
    return VerifyingKey(SHARED_SECRET_KID, "HS512", cast("bytes", shared_secret(secret).secret))


def _looks_like_key(secret: str) -> bool:
    # Letters only: white space, line ends and dashes get lost or doubled when a PEM passes through a variable.
    letters = re.sub(r"[^A-Za-z]", "", secret).upper()
    if _PEM.search(letters) or re.search(r"[\"']\s*kty\s*[\"']", secret):
        return True
    try:
        HMACAlgorithm(HMACAlgorithm.SHA512).prepare_key(secret)
    except jwt.InvalidKeyError:
        return True
    try:
        plain = "".join(secret.split()).rstrip("=")
        load_der_public_key(base64.urlsafe_b64decode(plain.translate(_URL_SAFE) + "=" * (-len(plain) % 4)))
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def _kid(header: Mapping[str, Any]) -> str:
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise InvalidToken("header: kid missing or unknown")
    return kid


def _check_signature(token: str, key: VerifyingKey) -> None:
    try:
        _VERIFIERS[key.algorithm].decode(token, key.material, algorithms=[key.algorithm])
    except (jwt.PyJWTError, ValueError) as exc:
        raise InvalidToken(f"signature: {type(exc).__name__}") from None


def _is_signed_by(token: str, key: VerifyingKey) -> bool:
    try:
        _check_signature(token, key)
    except InvalidToken:
        return False
    return True


def _select_key(header: Mapping[str, Any], keys: Mapping[str, VerifyingKey], types: tuple[str, ...]) -> VerifyingKey:
    check_header(header, types)
    key = keys.get(_kid(header))
    if key is None:
        raise InvalidToken("header: kid missing or unknown")
    if header.get("alg") != key.algorithm:
        raise InvalidToken(f"header: alg is not the key's {key.algorithm}")
    return key

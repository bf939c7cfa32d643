"""The one place where JWTs are signed and verified: PyJWT, with every choice taken away from the token.

PyJWT by itself accepts duplicate JSON members, an `exp` in a string, an empty `sub`, a padded signature and any
`typ`; each of these has been half of an attack on somebody.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, cast, get_args

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key
from jwt.algorithms import HMACAlgorithm

from compat_auth.errors import ConfigError, InvalidToken
from compat_auth.jwk import Algorithm, PublicAlgorithm, SigningKey, VerifyingKey
from compat_auth.strict_json import is_list, parse_object

MAX_TOKEN_BYTES = 8192
MIN_SECRET_BYTES = 64  # RFC 7518 3.2: HS512 needs a key of at least 512 bits
SHARED_SECRET_KID = "not-used"  # noqa: S105  # what Airflow 3 puts in its own HS512 headers
CLOCK_SKEW_S = 30
MAX_LIFETIME_S = 86_400
_SEGMENT = re.compile(r"[A-Za-z0-9_-]+\Z")
# crit: we understand no extension (RFC 7515 4.1.11). The others bring, or point to, a key of the sender's choice.
_REFUSED_HEADERS = frozenset({"crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "zip", "enc"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PEM = re.compile(r"BEGIN[A-Z]{0,40}?(KEY|CERTIFICATE)|\ASSH(RSA|ED)|\AECDSASHA")

# One verifier for each algorithm, and it knows no other: neither header nor default can choose.
_ALGORITHMS: tuple[Algorithm, ...] = ("HS512", *get_args(PublicAlgorithm))
_VERIFIERS: dict[Algorithm, jwt.PyJWS] = {name: jwt.PyJWS([name]) for name in _ALGORITHMS}
_URL_SAFE = str.maketrans("+/", "-_")


@dataclass(frozen=True, slots=True)
class _Parts:
    header: Mapping[str, Any]
    payload: Mapping[str, Any] = field(repr=False)


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
    """Return the claims of a token that is right in every respect.

    Args:
        token: As presented.
        keys: The keys that are believed, by kid; each for its own algorithm only.
        audience: What `aud` must be, or contain; of several, any one.
        issuer: What `iss` must be; None where the issuer is known by its key alone.
        types: What the header's `typ` may be, spelled exactly so; "" allows a header without one.
        now: Seconds since the epoch.
        leeway_s: Seconds by which clocks may differ.
        max_lifetime_s: Longest `exp` - `iat` that is believed.

    Raises:
        InvalidToken: The token is not right; says why, for logs only.
    """
    parts = _split(token)
    key = _select_key(parts.header, keys, types)
    try:
        _VERIFIERS[key.algorithm].decode(token, key.material, algorithms=[key.algorithm])
    except (jwt.PyJWTError, ValueError) as exc:
        raise InvalidToken(f"signature: {type(exc).__name__}") from None
    _check_times(parts.payload, now, leeway_s, max_lifetime_s)
    _check_parties(parts.payload, (audience,) if isinstance(audience, str) else audience, issuer)
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
    """Return the `kid` of a token in which all but the signature is right: only for such a one is a key worth fetching.

    Args:
        token: As presented.
        algorithms: What the header's `alg` may be.
        audience: As for `verify`, like what follows.
        issuer: What `iss` must be.
        types: What the header's `typ` may be.
        now: Seconds since the epoch.
        leeway_s: Seconds by which clocks may differ.
        max_lifetime_s: Longest `exp` - `iat` that is believed.

    Raises:
        InvalidToken: The token is not right; says why, for logs only.
    """
    parts = _split(token)
    _check_header(parts.header, types)
    algorithm = parts.header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise InvalidToken("header: alg is none of those that the issuer may use")
    _check_times(parts.payload, now, leeway_s, max_lifetime_s)
    _check_parties(parts.payload, (audience,) if isinstance(audience, str) else audience, issuer)
    return _kid(parts.header)


def read_unverified(token: str) -> dict[str, Any]:
    """Return the claims without any check of who signed them: for routing and expiry times only, never for trust.

    Raises:
        InvalidToken: The text is not a well-formed JWT.
    """
    return dict(_split(token).payload)


def algorithm_of(token: str) -> str:
    """Return the algorithm that the header of a verified token names.

    Raises:
        InvalidToken: The text is not a well-formed JWT, or names none.
    """
    algorithm = _split(token).header.get("alg")
    if not isinstance(algorithm, str):
        raise InvalidToken("header: alg missing")
    return algorithm


def shared_secret(secret: str) -> SigningKey:
    """Return the HS512 key of a secret that is shared with the upstream.

    Raises:
        ConfigError: The secret is empty, shorter than 64 bytes, or really a public key.
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
        # A public key as HMAC secret: everybody who has it could sign.
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
    """Return the key that verifies what `shared_secret` signs.

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


def _split(token: str) -> _Parts:
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken(f"longer than {MAX_TOKEN_BYTES} bytes")
    segments = token.split(".")
    if len(segments) != 3:  # RFC 7515 7.1: header, payload, signature
        raise InvalidToken("not three parts")
    header, payload, _ = (_decode(segment) for segment in segments)
    try:
        return _Parts(parse_object(header), parse_object(payload))
    except ValueError as exc:
        raise InvalidToken(f"JSON: {exc}") from None


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


def _check_header(header: Mapping[str, Any], types: tuple[str, ...]) -> None:
    refused = _REFUSED_HEADERS.intersection(header)
    if refused:
        raise InvalidToken(f"header: {min(refused)} is not taken from a token")
    typ = header.get("typ", "")
    if not isinstance(typ, str) or typ not in types:
        raise InvalidToken("header: typ missing or of another kind of token")


def _kid(header: Mapping[str, Any]) -> str:
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise InvalidToken("header: kid missing or unknown")
    return kid


def _select_key(header: Mapping[str, Any], keys: Mapping[str, VerifyingKey], types: tuple[str, ...]) -> VerifyingKey:
    _check_header(header, types)
    key = keys.get(_kid(header))
    if key is None:
        raise InvalidToken("header: kid missing or unknown")
    if header.get("alg") != key.algorithm:
        raise InvalidToken(f"header: alg is not the key's {key.algorithm}")
    return key


def _check_times(payload: Mapping[str, Any], now: float, leeway_s: int, max_lifetime_s: int) -> None:
    exp = _moment(payload, "exp")
    if exp is None:
        raise InvalidToken("exp: missing")
    iat = _moment(payload, "iat")
    nbf = _moment(payload, "nbf")
    if exp + leeway_s <= now:
        raise InvalidToken("exp: expired")
    if iat is not None and iat > now + leeway_s:
        raise InvalidToken("iat: in the future")
    if nbf is not None and nbf > now + leeway_s:
        raise InvalidToken("nbf: not yet valid")
    if exp - (now if iat is None else iat) > max_lifetime_s:
        raise InvalidToken(f"exp: lives longer than {max_lifetime_s} s")
    if iat is not None and exp <= iat:
        raise InvalidToken("exp: not after iat")


def _moment(payload: Mapping[str, Any], name: str) -> int | None:
    if name not in payload:
        return None
    value = payload[name]
    # A bool is an int to Python; a float or a string is read differently by others.
    if type(value) is not int or value < 0:
        raise InvalidToken(f"{name}: not a whole number of seconds since the epoch")
    return value


def _check_parties(payload: Mapping[str, Any], audiences: tuple[str, ...], issuer: str | None) -> None:
    sub = payload.get("sub")
    if not isinstance(sub, str) or not sub.strip() or _CONTROL.search(sub):
        raise InvalidToken("sub: missing, empty, or not a plain string")
    aud = payload.get("aud")
    named: list[Any] = aud if is_list(aud) else [aud]
    if not all(isinstance(name, str) and name for name in named):
        raise InvalidToken("aud: missing, or not a string or list of strings")
    if not set(named).intersection(audiences):
        raise InvalidToken("aud: meant for another")
    if issuer is not None and (not issuer or payload.get("iss") != issuer):
        raise InvalidToken("iss: missing or another")

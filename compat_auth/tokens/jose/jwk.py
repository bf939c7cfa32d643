"""Keys in their JSON form (RFC 7517), each bound to one algorithm. No I/O, no Flask."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import InvalidKeyError

from compat_auth.errors import KeyFileError

KeyAlgorithm = Literal["EdDSA", "RS256"]
PublicAlgorithm = Literal[
    "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"
]  # fmt: skip
Algorithm = PublicAlgorithm | Literal["HS512"]
PrivateKey = Ed25519PrivateKey | RSAPrivateKey
PublicKey = Ed25519PublicKey | RSAPublicKey | EllipticCurvePublicKey
OUR_ALGORITHMS: tuple[PublicAlgorithm, ...] = ("EdDSA", "RS256")
"""The algorithms of our own keys."""
MIN_RSA_BITS = 2048  # RFC 7518 3.3
# A larger key makes verification too expensive, and nobody publishes one.
MAX_RSA_BITS = 8192
# RFC 7518 3.4: each curve has its own algorithm.
_CURVE_ALGORITHMS: dict[str, PublicAlgorithm] = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_RSA_ALGORITHMS: frozenset[PublicAlgorithm] = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
# RFC 7638 3.2 and RFC 8037 2: exactly the members that make up a public key.
_REQUIRED_MEMBERS = {"RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x"), "EC": ("crv", "kty", "x", "y")}

_LOADERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "RSA": RSAAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key or shared secret, and the one algorithm that it signs with.

    Attributes:
        kid: `kid` in the header of its tokens.
        algorithm: `alg` of every token it signs.
        secret: The loaded private key, or the bytes of a shared secret.
    """

    kid: str
    algorithm: Algorithm
    secret: PrivateKey | bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key or shared secret, and the one algorithm that it verifies.

    Attributes:
        kid: The `kid` that a token's header must name.
        algorithm: The only `alg` that a token for this key may have.
        material: The loaded public key, or the bytes of a shared secret.
    """

    kid: str
    algorithm: Algorithm
    material: PublicKey | bytes = field(repr=False)


def create_private_key(algorithm: KeyAlgorithm) -> PrivateKey:
    """Return a new private key for the algorithm."""
    if algorithm == "EdDSA":
        return Ed25519PrivateKey.generate()
    return generate_private_key(public_exponent=65537, key_size=3072)


def private_jwk(key: PrivateKey) -> dict[str, Any]:
    """Return the private key as a JWK, which is as secret as the key itself."""
    if isinstance(key, RSAPrivateKey):
        members = RSAAlgorithm.to_jwk(key, as_dict=True)
    else:
        members = OKPAlgorithm.to_jwk(key, as_dict=True)
    return {name: value for name, value in members.items() if name != "key_ops"}


def public_members(key: PublicKey) -> dict[str, str]:
    """Return the members that make up the public key, in the order of RFC 7638."""
    if isinstance(key, RSAPublicKey):
        members = RSAAlgorithm.to_jwk(key, as_dict=True)
    elif isinstance(key, EllipticCurvePublicKey):
        members = ECAlgorithm.to_jwk(key, as_dict=True)
    else:
        members = OKPAlgorithm.to_jwk(key, as_dict=True)
    return {name: members[name] for name in _REQUIRED_MEMBERS[members["kty"]]}


def thumbprint(key: PublicKey) -> str:
    """Return the key's SHA-256 thumbprint (RFC 7638), base64url without padding."""
    canonical = json.dumps(public_members(key), separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()


def algorithm_of(key: PublicKey | PrivateKey) -> KeyAlgorithm:
    """Return the one algorithm that this project uses with the key.

    Raises:
        KeyFileError: The key is of an unsupported kind.
    """
    match key:
        case RSAPrivateKey() | RSAPublicKey():
            return "RS256"
        case Ed25519PrivateKey() | Ed25519PublicKey():
            return "EdDSA"
        case _:
            raise KeyFileError("only Ed25519 and RSA keys are supported")


def load_private_jwk(jwk: Mapping[str, Any]) -> PrivateKey:
    """Return the private key in a JWK.

    Raises:
        KeyFileError: It is not a private Ed25519 or RSA key, or RSA is shorter than 2048 bits.
    """
    key = _load(jwk)
    if not isinstance(key, Ed25519PrivateKey | RSAPrivateKey):
        raise KeyFileError("not a private Ed25519 or RSA key")
    return key


def load_public_jwk(jwk: Mapping[str, Any]) -> PublicKey:
    """Return the public key in a JWK, which may be private.

    Raises:
        KeyFileError: The JWK is symmetric, incomplete, or of an unsupported kind.
    """
    key = _load(jwk)
    return key.public_key() if isinstance(key, Ed25519PrivateKey | RSAPrivateKey) else key


def verifying_key(jwk: Mapping[str, Any], algorithms: Sequence[PublicAlgorithm] = OUR_ALGORITHMS) -> VerifyingKey:
    """Return the key that verifies signatures of the JWK's owner.

    Args:
        jwk: One member of a JWKS.
        algorithms: Accepted algorithms; a JWK without `alg` is for the first one that fits the key, and no other.

    Raises:
        KeyFileError: The JWK has no `kid`, is not for signatures, or names an algorithm that its key does not fit.
    """
    key = load_public_jwk(jwk)
    kid = jwk.get("kid")
    if not isinstance(kid, str) or not kid:
        raise KeyFileError("kid: missing")
    # Some issuers write null for an absent member.
    use, named = jwk.get("use"), jwk.get("alg")
    operations = jwk.get("key_ops")
    operations = ["verify"] if operations is None else operations
    if use not in (None, "sig") or not isinstance(operations, list) or "verify" not in operations:
        raise KeyFileError("use or key_ops: not for signatures")
    fitting: list[PublicAlgorithm] = [algorithm for algorithm in algorithms if _fits(algorithm, key)]
    if not fitting:
        kind = f"kty EC, curve {key.curve.name}" if isinstance(key, EllipticCurvePublicKey) else "this kind"
        raise KeyFileError(f"a key of {kind} fits no accepted algorithm; accepted: {', '.join(algorithms)}")
    # One algorithm per key: the key decides it, never the token.
    if named is not None and named not in fitting:
        raise KeyFileError(f"alg: a key of this kind is for {' or '.join(fitting)}")
    return VerifyingKey(kid, fitting[0] if named is None else fitting[fitting.index(named)], key)


def _fits(algorithm: PublicAlgorithm, key: PublicKey) -> bool:
    match key:
        case RSAPublicKey():
            return algorithm in _RSA_ALGORITHMS
        case Ed25519PublicKey():
            return algorithm == "EdDSA"
        case _:
            return _CURVE_ALGORITHMS.get(key.curve.name) == algorithm


def _load(jwk: Mapping[str, Any]) -> PublicKey | PrivateKey:
    kty = jwk.get("kty")
    if kty == "oct":
        raise KeyFileError("kty oct: a symmetric key must never be published; give a public key")
    required = _REQUIRED_MEMBERS.get(kty) if isinstance(kty, str) else None
    if required is None:
        raise KeyFileError("kty: must be OKP, RSA or EC")
    for name in required:
        if not isinstance(jwk.get(name), str):
            raise KeyFileError(f"{name}: missing or not a string")
    try:
        key = _LOADERS[cast("str", kty)](dict(jwk))
    except (InvalidKeyError, ValueError, TypeError, binascii.Error):
        # The reason could quote a private member.
        raise KeyFileError(f"kty {kty}: its members do not make up a key") from None
    if isinstance(key, RSAPrivateKey | RSAPublicKey):
        _check_modulus(key)
        return key
    if isinstance(key, Ed25519PrivateKey | Ed25519PublicKey | EllipticCurvePublicKey):
        return key
    if isinstance(key, EllipticCurvePrivateKey):
        # Elliptic curve keys are only verified with or published, so the public key is enough.
        return key.public_key()
    raise KeyFileError("crv: must be Ed25519")


def _check_modulus(key: RSAPrivateKey | RSAPublicKey) -> None:
    """Raise KeyFileError where the modulus is too short, too long, or even."""
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise KeyFileError(
            f"RSA key of {key.key_size} bits; allowed are {MIN_RSA_BITS} (RFC 7518 section 3.3) to {MAX_RSA_BITS}"
        )
    public = key.public_key() if isinstance(key, RSAPrivateKey) else key
    # It has 2 as a factor, so anybody can compute the private key.
    if public.public_numbers().n % 2 == 0:
        raise KeyFileError("n: an even number is not an RSA modulus")

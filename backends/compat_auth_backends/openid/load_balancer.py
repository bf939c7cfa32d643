"""The JWT that an AWS Application Load Balancer signs: `x-amzn-oidc-data`.

AWS documents three differences to other JWTs ("Authenticate users using an Application Load Balancer"). Its parts are
base64url with padding, which belongs to the signed text. Its header names the signer, the client (`client`) and the end
(`exp`). Each key is a PEM at an address of its own, for all load balancers of a region. So `signer` shows whose it is,
and no key is fetched before the header is right.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from compat_auth.config import OidcIssuerSettings
from compat_auth.errors import BackendUnavailable, ConfigError, InvalidToken
from compat_auth.openid import CLOCK_SKEW_S, Endpoint, Fetched, FetchedDocument, parse_object, ttl_of

KEY_ID = "{kid}"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PART = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_MAX_BYTES = 16 * 1024
_SIGNATURE_BYTES = 64
_KEYS = 32
# A region has few keys, and a new one now and then.
_NEW_KEYS_PER_MINUTE = 6


class LoadBalancerKeys:
    """The public keys of a region's load balancers. Any thread may call.

    Args:
        settings: With `jwks_url`, in which `{kid}` stands, `signer`, `issuer` and `audience`.
        where: What to call it in an error.
        now: Clock, in seconds, that never goes back.

    Raises:
        ConfigError: The address is not one that may be asked.
    """

    def __init__(self, settings: OidcIssuerSettings, where: str, *, now: Callable[[], float] = time.monotonic) -> None:
        if not settings.jwks_url.endswith(f"/{KEY_ID}") or settings.jwks_url.count("{") != 1:
            raise ConfigError(f"{where}.jwks_url: {KEY_ID} must be its last segment, and stand there once")
        # What is wrong with the address shows at the start, not with the first token.
        Endpoint.parse(settings.jwks_url.replace(KEY_ID, "kid"), where=f"{where}.jwks_url", ca_file=settings.ca_file)
        self._settings = settings
        self._where = where
        self._now = now
        self._lock = threading.Lock()
        self._keys: dict[str, FetchedDocument[EllipticCurvePublicKey | None]] = {}
        self._asked: list[float] = []

    def verify(self, token: str, *, now: float) -> dict[str, Any]:
        """Return the claims of a JWT that our load balancer has signed.

        Args:
            token: As the load balancer sends it.
            now: Seconds since the epoch.

        Raises:
            InvalidToken: It is not right; says why, for logs only.
            BackendUnavailable: It may be right, but its key could not be had.
        """
        header, claims, signed, signature = _split(token)
        self._check(header, claims, now)
        key = self._key(str(header["kid"]))
        try:
            r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
            key.verify(encode_dss_signature(r, s), signed, ECDSA(SHA256()))
        except (InvalidSignature, ValueError):
            raise InvalidToken("signature: wrong") from None
        return {**claims, "iss": self._settings.issuer, "exp": int(_end(header, claims))}

    def _check(self, header: Mapping[str, Any], claims: Mapping[str, Any], now: float) -> None:
        settings = self._settings
        if header.get("alg") != "ES256":
            raise InvalidToken("header: alg is not ES256")
        if header.get("signer") != settings.signer:
            raise InvalidToken("header: signer is another load balancer")
        if header.get("client") not in settings.audience:
            raise InvalidToken("header: client is another")
        for said in (header.get("iss"), claims.get("iss", header.get("iss"))):
            if said != settings.issuer:
                raise InvalidToken("iss: missing or another")
        end = _end(header, claims)
        if end + CLOCK_SKEW_S <= now:
            raise InvalidToken("exp: expired")
        if end - now > settings.max_lifetime_s:
            raise InvalidToken(f"exp: lives longer than {settings.max_lifetime_s} s")
        kid = header.get("kid")
        if not isinstance(kid, str) or _UUID.fullmatch(kid) is None:
            raise InvalidToken("header: kid is not the id of a load balancer's key")

    def _key(self, kid: str) -> EllipticCurvePublicKey:
        with self._lock:
            document = self._keys.get(kid)
            if document is None:
                self._require_patience()
                document = FetchedDocument(f"key {kid}", lambda: self._fetch(kid), now=self._now)
                self._keys[kid] = document
                while len(self._keys) > _KEYS:
                    del self._keys[next(iter(self._keys))]
        key = document.current()
        if key is None:
            raise InvalidToken("header: kid: no such key")
        return key

    def _require_patience(self) -> None:
        """Check that no more than a few unknown keys were asked for a moment ago.

        Raises:
            BackendUnavailable: They were.
        """
        now = self._now()
        self._asked = [at for at in self._asked if now - at < 60]
        if len(self._asked) >= _NEW_KEYS_PER_MINUTE:
            raise BackendUnavailable(f"{self._where}: too many unknown keys in a minute; this one is not asked for")
        self._asked.append(now)

    def _fetch(self, kid: str) -> Fetched[EllipticCurvePublicKey | None]:
        url = self._settings.jwks_url.replace(KEY_ID, kid)
        answer = Endpoint.parse(url, where=f"{self._where}.jwks_url", ca_file=self._settings.ca_file).get()
        if answer.status in (403, 404):
            # It may be there in a moment: keys are replaced.
            return Fetched(None, ttl_s=60)
        if answer.status != 200:
            raise BackendUnavailable(f"{url}: answered {answer.status}")
        try:
            key = load_pem_public_key(answer.body)
        except (ValueError, UnsupportedAlgorithm):
            raise BackendUnavailable(f"{url}: not a public key in PEM") from None
        if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
            raise BackendUnavailable(f"{url}: not a key of curve P-256")
        return Fetched(key, ttl_of(answer.headers))


def _split(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Return header, claims, what is signed, and the signature.

    Raises:
        InvalidToken: The text is none of these.
    """
    parts = token.split(".")
    if len(token) > _MAX_BYTES or len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts):
        raise InvalidToken("not three parts in base64url, or too long")
    try:
        header, payload, signature = (
            base64.urlsafe_b64decode(part.rstrip("=") + "=" * (-len(part.rstrip("=")) % 4)) for part in parts
        )
        content = dict(parse_object(header)), dict(parse_object(payload))
    except (binascii.Error, ValueError) as exc:
        raise InvalidToken(f"not base64url of JSON: {type(exc).__name__}") from None
    if len(signature) != _SIGNATURE_BYTES:
        raise InvalidToken("signature: not one of ES256")
    return (*content, token.rpartition(".")[0].encode("ascii"), signature)


def _end(header: Mapping[str, Any], claims: Mapping[str, Any]) -> float:
    """Return the earlier end of header and claims.

    Raises:
        InvalidToken: Neither says so, or one says something else than a moment.
    """
    ends = [said["exp"] for said in (header, claims) if "exp" in said]
    if not ends or any(isinstance(end, bool) or not isinstance(end, int | float) for end in ends):
        raise InvalidToken("exp: missing, or not a moment")
    return float(min(ends))

"""Cache of an issuer's published keys (RFC 7517).

A token causes a fetch only when everything except its signature is valid, and only once every few seconds: random key
ids do not reach the issuer. A symmetric key, a short key, or a key for an algorithm that the issuer may not use is
dropped from a JWKS; the other keys stay. One `kid` may name several keys (RFC 7517 section 4.5). A token without a
`kid` is accepted only where the issuer publishes a single key (OpenID Connect Core section 10.1).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from compat_auth.crypto.strict_json import is_list, is_object, parse_object
from compat_auth.errors import BackendUnavailable, InvalidToken, KeyFileError
from compat_auth.net.cached_document import Fetched, FetchedDocument, ttl_of
from compat_auth.net.https_client import EndpointAnswer
from compat_auth.tokens.jose.jwk import PublicAlgorithm, VerifyingKey, load_public_jwk, thumbprint, verifying_key
from compat_auth.tokens.jose.jwt import claims_signed_by, kid_of_plausible
from compat_auth.tokens.jose.registered_claims import CLOCK_SKEW_S, MAX_LIFETIME_S

ISSUER_ALGORITHMS: tuple[PublicAlgorithm, ...] = (
    "RS256", "PS256", "ES256", "EdDSA", "RS384", "RS512", "PS384", "PS512", "ES384", "ES512",
)  # fmt: skip
"""Algorithms that an issuer may use; an RSA key without `alg` is for the first RSA algorithm."""
_log = logging.getLogger("compat_auth.jwks_cache")


class KeySource(Protocol):
    """Where an issuer's keys are: an `Endpoint`, or a file that answers like one."""

    @property
    def url(self) -> str:
        """Its name in messages."""
        ...

    def get(self, headers: Mapping[str, str] | None = None) -> EndpointAnswer:
        """Return the keys; raise BackendUnavailable where they cannot be had."""
        ...


class JwksCache:
    """The keys of one issuer. Any thread may call.

    Args:
        endpoint: Returns the JWKS endpoint; called for each fetch, and may raise BackendUnavailable.
        algorithms: Algorithms that the issuer may use; each key is for one of them only.
        now: Monotonic clock, in seconds.
    """

    def __init__(
        self,
        endpoint: Callable[[], KeySource],
        *,
        algorithms: tuple[PublicAlgorithm, ...] = ISSUER_ALGORITHMS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self.algorithms = algorithms
        self._document: FetchedDocument[tuple[VerifyingKey, ...]] = FetchedDocument("JWKS", self._fetch, now=now)

    def find(self, kid: str) -> VerifyingKey:
        """Return the issuer's first key with that id; an unknown id causes a fetch, at most every few seconds.

        Raises:
            InvalidToken: The issuer has no such key.
            BackendUnavailable: The issuer could not be asked, and no key with that id is cached.
        """
        return self._named(kid)[0]

    def probe(self) -> int:
        """Return how many usable keys the issuer publishes; fetches them unless that was done a moment ago.

        Raises:
            BackendUnavailable: The issuer could not be asked, or publishes no usable key.
        """
        keys = self._document.current()
        if not keys:
            raise BackendUnavailable(f"JWKS: no key for any of {', '.join(self.algorithms)}")
        return len(keys)

    def verify(
        self,
        token: str,
        *,
        audience: tuple[str, ...],
        issuer: str,
        types: tuple[str, ...],
        now: float,
        leeway_s: int = CLOCK_SKEW_S,
        max_lifetime_s: int = MAX_LIFETIME_S,
    ) -> dict[str, Any]:
        """Return the claims of a token that is valid in every respect and signed by the issuer.

        Types are compared as media types (RFC 7515 section 4.1.9). Moments are returned in whole seconds, rounded down.

        Args:
            token: As presented.
            audience: `aud` must be, or contain, one of these.
            issuer: What `iss` must be.
            types: What the header's `typ` may be; "" allows a header without one.
            now: Seconds since the epoch.
            leeway_s: Seconds by which clocks may differ.
            max_lifetime_s: Longest `exp` - `iat` that is believed.

        Raises:
            InvalidToken: The token is not valid; the message says why, for logs only.
            BackendUnavailable: The token may be valid, but the issuer could not be asked for its key.
        """
        kid = kid_of_plausible(
            token,
            algorithms=self.algorithms,
            audience=audience,
            issuer=issuer,
            types=types,
            now=now,
            leeway_s=leeway_s,
            max_lifetime_s=max_lifetime_s,
        )
        if kid:
            return claims_signed_by(self._named(kid), token)
        held = self._document.current()
        try:
            return claims_signed_by(_only_key(held), token)
        except InvalidToken:
            # Without a kid, only a fetch shows whether the issuer has another key now.
            renewed = self._document.renewed()
            if renewed == held:
                raise
        return claims_signed_by(_only_key(renewed), token)

    def _named(self, kid: str) -> tuple[VerifyingKey, ...]:
        held = _keys_named(self._document.current(), kid) or _keys_named(self._document.renewed(), kid)
        if not held:
            raise InvalidToken("kid: the issuer has no such key")
        return held

    def _fetch(self) -> Fetched[tuple[VerifyingKey, ...]]:
        endpoint = self._endpoint()
        answer = endpoint.get({"Accept": "application/jwk-set+json, application/json"})
        if answer.status != 200:
            raise BackendUnavailable(f"JWKS {endpoint.url}: answered {answer.status}")
        return Fetched(_read_keys(answer.body, self.algorithms, endpoint.url), ttl_of(answer.headers))


def _read_keys(text: bytes, algorithms: tuple[PublicAlgorithm, ...], where: str) -> tuple[VerifyingKey, ...]:
    try:
        entries = parse_object(text).get("keys")
    except ValueError as exc:
        raise BackendUnavailable(f"JWKS {where}: not unambiguous JSON: {exc}") from None
    if not is_list(entries):
        raise BackendUnavailable(f"JWKS {where}: has no list of keys")
    keys: list[VerifyingKey] = []
    for entry in entries:
        try:
            key = verifying_key(_with_kid(entry), algorithms) if is_object(entry) else None
        except KeyFileError as error:
            _log.info("JWKS %s: a key is not used: %s", where, error)
            continue
        if key is not None:
            keys.append(key)
    return tuple(keys)


def _with_kid(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    # RFC 7517 4.5: kid is optional. The thumbprint is an id that no other key has.
    return entry if entry.get("kid") is not None else {**entry, "kid": thumbprint(load_public_jwk(entry))}


def _keys_named(keys: tuple[VerifyingKey, ...], kid: str) -> tuple[VerifyingKey, ...]:
    return tuple(key for key in keys if key.kid == kid)


def _only_key(keys: tuple[VerifyingKey, ...]) -> tuple[VerifyingKey, ...]:
    if len(keys) > 1:
        raise InvalidToken("header: kid missing, and the issuer has several keys")
    return keys

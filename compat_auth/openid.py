"""Tools for a backend that accepts an identity provider's tokens: HTTPS, JWKS, introspection results, account links.

Signatures are verified by `JwksCache.verify` alone: what `read_unverified` and `algorithm_of` return is the caller's
claim, good for choosing whom to ask.
"""

from __future__ import annotations

from compat_auth.authn.users.account_links import AccountLinks, ConfiguredLinks, FirstUseLinks
from compat_auth.crypto.strict_json import is_list, parse_object
from compat_auth.net.cached_document import Fetched, FetchedDocument, ttl_of
from compat_auth.net.https_client import Endpoint, EndpointAnswer
from compat_auth.tokens.introspection_cache import (
    IntrospectionCache,
    IntrospectionResult,
    IntrospectionStore,
    MemoryIntrospections,
    open_introspections,
)
from compat_auth.tokens.jose.jwt import algorithm_of, read_unverified
from compat_auth.tokens.jose.registered_claims import CLOCK_SKEW_S
from compat_auth.tokens.keys.jwks_cache import ISSUER_ALGORITHMS, JwksCache

__all__ = [
    "CLOCK_SKEW_S",
    "ISSUER_ALGORITHMS",
    "AccountLinks",
    "ConfiguredLinks",
    "Endpoint",
    "EndpointAnswer",
    "Fetched",
    "FetchedDocument",
    "FirstUseLinks",
    "IntrospectionCache",
    "IntrospectionResult",
    "IntrospectionStore",
    "JwksCache",
    "MemoryIntrospections",
    "algorithm_of",
    "is_list",
    "open_introspections",
    "parse_object",
    "read_unverified",
    "ttl_of",
]

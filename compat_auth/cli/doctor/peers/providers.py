"""The keys and clocks of identity providers: those of `[oidc]`, `[google_openid]` and `[[workloads]]`.

`check` has asked the backends, which compare the discovery document's issuer; here are the keys that are published.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from compat_auth.cli.doctor.peers.clocks import ahead_of_date, describe_clock
from compat_auth.cli.doctor.result import Result
from compat_auth.config import Settings
from compat_auth.crypto.strict_json import is_list, is_object, parse_object
from compat_auth.errors import BackendUnavailable
from compat_auth.net.https_client import Endpoint
from compat_auth.tokens.jose.registered_claims import CLOCK_SKEW_S

_WELL_KNOWN = "/.well-known/openid-configuration"
_KINDS = {"RSA": "RSA", "EC": "EC", "OKP": "EdDSA"}


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider of the configuration.

    Attributes:
        backend: The backend that believes it.
        where: The setting that names it.
        issuer: Its `iss`.
        jwks_url: Where its keys are; "" if its discovery document says so.
        ca_file: PEM file of the authorities; "" means the system's.
    """

    backend: str
    where: str
    issuer: str
    jwks_url: str
    ca_file: str


def providers_of(settings: Settings) -> Iterator[Provider]:
    """Yield the providers whose keys can be fetched by anybody."""
    backends = settings.auth_backends
    if any("oidc" in name for name in backends):
        for place, one in enumerate(settings.oidc.issuers):
            # With a key id in it, it is one address for each key.
            if "{kid}" not in one.jwks_url:
                yield Provider("oidc", f"oidc.issuers[{place}]", one.issuer, one.jwks_url, one.ca_file)
    if any("google_openid" in name for name in backends):
        google = settings.google_openid
        yield Provider("google_openid", "google_openid", "Google", google.jwks_url, google.ca_file)
    if "workload" in backends:
        elsewhere = {rule.issuer for rule in settings.workloads if rule.token_file or rule.jwks}
        for place, rule in enumerate(settings.workloads):
            # Keys in a file, of a cluster, or behind a token are the backend's to fetch.
            if (rule.jwks.startswith("http") and not rule.token_file) or rule.issuer not in elsewhere:
                elsewhere.add(rule.issuer)
                yield Provider("workload", f"workloads[{place}]", rule.issuer, rule.jwks, rule.ca_file)


def examine_provider(provider: Provider) -> Iterator[Result]:
    """Yield the keys, and the clock if the provider sends a Date.

    Raises:
        ConfigError: A URL is not allowed.
        BackendUnavailable: The provider could not be asked, or its answer is not as the standard wants it.
    """
    jwks_url = provider.jwks_url
    if not jwks_url:
        document, _ = _fetch(provider.issuer.rstrip("/") + _WELL_KNOWN, provider)
        if document.get("issuer") != provider.issuer:
            raise BackendUnavailable(
                f"{provider.where}.issuer: the discovery document describes {document.get('issuer')!r}, not "
                f"{provider.issuer!r}; write the issuer exactly as it does, with or without the slash at its end"
            )
        jwks_url = str(document.get("jwks_uri", ""))
    keys, ahead_s = _fetch(jwks_url, provider)
    found = keys.get("keys")
    listed = [cast("dict[str, object]", key) for key in found if is_object(key)] if is_list(found) else []
    about = f"jwks {provider.issuer}"
    if any(key.get("kty") == "oct" for key in listed):
        text = (
            f"{jwks_url}: publishes a shared secret (kty oct), with which anybody can sign; replace the provider's keys"
        )
        yield Result.failure(about, text)
    kinds = sorted({_KINDS[str(key.get("kty"))] for key in listed if key.get("kty") in _KINDS})
    if kinds:
        yield Result.okay(about, f"{len(listed)} keys: {', '.join(kinds)}", jwks_url)
    else:
        yield Result.failure(about, f"{jwks_url}: publishes no key that could verify a token; check jwks_url")
    if ahead_s is not None:
        why = "its tokens count as expired, or as not yet valid"
        yield describe_clock(f"clock {provider.issuer}", ahead_s, limit_s=CLOCK_SKEW_S, why=why)


def _fetch(url: str, provider: Provider) -> tuple[dict[str, object], float | None]:
    endpoint = Endpoint.parse(url, where=provider.where, ca_file=provider.ca_file)
    before = time.time()
    answer = endpoint.get()
    ahead_s = ahead_of_date(answer.headers, before, time.time())
    if "age" in answer.headers:
        ahead_s = None  # a cache keeps the Date of the origin (RFC 9111 section 4.2.3)
    if answer.status != 200:
        raise BackendUnavailable(
            f"{provider.where}: {url} answers {answer.status}; correct the URL, or look at its log"
        )
    try:
        return dict(parse_object(answer.body)), ahead_s
    except ValueError:
        raise BackendUnavailable(f"{provider.where}: {url} is not JSON; correct the URL") from None

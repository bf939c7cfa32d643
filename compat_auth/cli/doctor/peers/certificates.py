"""How long certificates are valid: those in our files, and those that servers show."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from compat_auth.cli.doctor.result import Result
from compat_auth.config import Settings
from compat_auth.config.upstream_url import read_address
from compat_auth.net.tls import unverified_tls

_SOON = dt.timedelta(days=21)
_WAIT_S = 3.0


def examine_certificates(settings: Settings) -> Iterator[Result]:
    """Yield a result for each certificate in a file that the settings name, and for the upstream's own."""
    named = [
        ("serve.tls_cert", settings.serve.tls_cert),
        ("upstream.verify", settings.upstream.verify if isinstance(settings.upstream.verify, str) else ""),
        ("ldap.ca_file", settings.ldap.ca_file),
        ("client_certificate.ca_file", settings.client_certificate.ca_file),
        ("google_openid.ca_file", settings.google_openid.ca_file),
        *((f"oidc.issuers[{place}].ca_file", one.ca_file) for place, one in enumerate(settings.oidc.issuers)),
    ]
    found = [result for setting, path in named if path for result in _in_file(setting, path)]
    url = read_address(settings.upstream.url) if settings.upstream.url else None
    if url is not None and url.scheme == "https":
        found += _shown_by("upstream.url", url.hostname or "", url.port or 443)
    yield from found
    if not found:
        yield Result.not_asked("certificates", "the configuration names none")


def describe_certificate(where: str, certificate: x509.Certificate) -> Result:
    """Return the result for the time in which a certificate is valid."""
    now, ends = dt.datetime.now(dt.UTC), certificate.not_valid_after_utc
    name = certificate.subject.rfc4514_string() or "a certificate without a subject"
    day = f"{ends:%Y-%m-%d %H:%M} UTC"
    if ends <= now:
        return Result("certificates", "failure", f"{name} has expired on {day}", where, "replace it by a new one")
    if certificate.not_valid_before_utc > now:
        starts = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        step = "set this machine's clock, or replace it"
        return Result("certificates", "failure", f"{name} is not valid before {starts}", where, step)
    if ends - now < _SOON:
        step = "replace it before that day"
        return Result("certificates", "warning", f"{name} expires on {day}, in {(ends - now).days} days", where, step)
    return Result.okay("certificates", f"{name} is valid until {day}", where)


def _in_file(setting: str, path: str) -> Iterator[Result]:
    try:
        found = x509.load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError):
        return  # the check that uses the file reports it
    where = f"{setting}: {path}"
    results = [describe_certificate(where, one) for one in found]
    worse = [result for result in results if result.status != "ok"]
    if "ca_file" in setting or setting == "upstream.verify":
        # A bundle of authorities has old ones among them; it matters that one is left.
        valid = [result for result in results if result.status != "failure"]
        yield valid[0] if valid else worse[0]
    else:
        yield worse[0] if worse else results[0]


def _shown_by(setting: str, host: str, port: int) -> Iterator[Result]:
    # Nothing is sent: only the certificate is read; `check` verifies it.
    try:
        with (
            socket.create_connection((host, port), timeout=_WAIT_S) as plain,
            unverified_tls().wrap_socket(plain, server_hostname=host) as secure,
        ):
            der = secure.getpeercert(binary_form=True)
    except (OSError, ValueError):
        return
    if der:
        yield describe_certificate(f"{setting}: {host}:{port}", x509.load_der_x509_certificate(der))

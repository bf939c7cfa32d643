"""The other end of a replayed connection: a client with its certificate, or a front proxy with its headers."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from cryptography import x509

from compat_auth.client_certificates import can_see_certificates, reads_certificates, thumbprint_of
from compat_auth.composition.rules import identity_headers
from compat_auth.config import Settings
from compat_auth.http.forwarded import Peers, TrustedProxies
from compat_auth.http.headers import Intake
from compat_auth.peer import FROM_SOCKET, Peer, is_within, tls_extension

_TRUSTED = "trusted_proxies"
_PROXIES = "client_certificate.proxies"


@dataclass(frozen=True, slots=True)
class Connection:
    """The other end of a connection.

    Attributes:
        address: Its address.
        certificate: DER of the certificate that the client shows; b"": it shows none.
        is_given: The user of the command has said something of it.
    """

    address: str = "127.0.0.1"
    certificate: bytes = field(default=b"", repr=False)
    is_given: bool = False

    def is_forwarded(self, settings: Settings) -> bool:
        """Return whether the certificate comes in the header of a front proxy at this address."""
        section = settings.client_certificate
        return bool(self.certificate and section.forwarded) and is_within(self.address, tuple(section.proxies))

    def headers(self, settings: Settings) -> tuple[tuple[str, str], ...]:
        """Return the headers with which the front proxy forwards the certificate; () where it forwards none."""
        if not self.is_forwarded(settings):
            return ()
        section = settings.client_certificate
        name, *verify = section.headers
        return ((name, _written(section.forwarded, self.certificate)), *((header, "SUCCESS") for header in verify))

    def scope(self, settings: Settings) -> dict[str, Any]:
        """Return the members of a scope that describe the connection."""
        by_tls = self.certificate and not self.is_forwarded(settings) and _asks_in_tls(settings)
        tls = tls_extension(self.certificate) if by_tls else {}
        return {"client": (self.address, 0), "extensions": {**tls, FROM_SOCKET: True}}

    def peer(self, settings: Settings, scope: Mapping[str, Any], intake: Intake) -> Peer:
        """Return the other end as backends see it."""
        peers = Peers(TrustedProxies(settings.trusted_proxies), identity_headers(settings))
        return peers.of(scope, intake.identity, intake.forward)

    def described(self, settings: Settings, intake: Intake) -> Iterator[str]:
        """Yield a line for the address, the certificate, and each identity header: who believes it, or why nobody does."""
        names = dict.fromkeys(name.decode("ascii", "replace") for name, _ in intake.identity)
        if not (self.is_given or names):
            return
        is_proxy = TrustedProxies(settings.trusted_proxies).covers(self.address)
        yield f"connection: from {self.address}, " + ("a trusted proxy" if is_proxy else f"not in {_TRUSTED}")
        if self.certificate:
            yield from self._certificate(settings, is_proxy=is_proxy)
        for name in names:
            yield f"header {name}: {self._header(settings, name, is_proxy=is_proxy)}"

    def _certificate(self, settings: Settings, *, is_proxy: bool) -> Iterator[str]:
        subject = x509.load_der_x509_certificate(self.certificate).subject.rfc4514_string()
        yield f"certificate: {subject or 'no subject'}, x5t#S256 {thumbprint_of(self.certificate)}"
        if not reads_certificates(settings):
            yield "certificate: not looked at; add client_certificate or personal_token to auth_backends"
        elif self.is_forwarded(settings):
            yield f"certificate: forwarded by the proxy in {settings.client_certificate.headers[0]}"
        elif is_proxy:
            yield (
                f"certificate: not looked at: in TLS a trusted proxy shows its own; add {self.address} to {_PROXIES} if the "
                "proxy forwards those of its clients, and set forwarded"
            )
        elif not _asks_in_tls(settings):
            yield (
                "certificate: clients are not asked for one; set [serve] tls_cert and tls_key, and [client_certificate] "
                "ca_file; or let a front proxy forward it, and replay the request with --from its address"
            )
        else:
            yield "certificate: shown in TLS"

    def _header(self, settings: Settings, name: str, *, is_proxy: bool) -> str:
        readers = list(_readers(settings, name))
        if not readers:
            return "dropped: no backend of auth_backends reads it, and Airflow does not get it"
        reader, where, networks = readers[0]
        if not is_proxy:
            return (
                f"dropped: {self.address} is not in {_TRUSTED}; name the proxy there, or replay with --from its address"
            )
        if not is_within(self.address, tuple(networks)):
            return (
                f"not believed by {reader}: {self.address} is not in {where}; add it if this proxy always overwrites it"
            )
        return f"read by {reader}"


def _readers(settings: Settings, name: str) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Yield each backend that reads a header, the setting that says from whom, and what it says."""
    chain = settings.auth_backends
    if any("remote_user" in backend for backend in chain) and name == settings.remote_user.header.lower():
        yield "remote_user", "remote_user.proxies", settings.remote_user.proxies
    section = settings.client_certificate
    if can_see_certificates(settings) and section.proxies and name in section.headers:
        reader = "client_certificate" if any("client_certificate" in backend for backend in chain) else "personal_token"
        yield reader, _PROXIES, section.proxies
    if any("oidc" in backend for backend in chain):
        for table in settings.oidc.issuers:
            if table.header.lower() == name:
                yield "oidc", _TRUSTED, settings.trusted_proxies


def _asks_in_tls(settings: Settings) -> bool:
    return reads_certificates(settings) and bool(settings.serve.tls_cert and settings.client_certificate.ca_file)


def _written(kind: str, certificate: bytes) -> str:
    """Return a certificate as a front proxy writes it into its header."""
    pem = ssl.DER_cert_to_PEM_cert(certificate)
    match kind:
        case "nginx":
            return quote(pem, safe="")
        case "envoy":
            return f'Cert="{quote(pem, safe="")}"'
        case "subject":
            return x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
        case _:
            return base64.b64encode(certificate).decode("ascii")

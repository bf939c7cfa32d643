"""The certificate that a client has shown: in TLS to our own listener, or to a front proxy that forwards it in a header.

A proxy that forwards one vouches that its client has the key, so a header counts only from the proxies that are named for it.
Sources for the headers: nginx `$ssl_client_escaped_cert`; HAProxy `ssl_c_der,base64`; Envoy "x-forwarded-client-cert"; Traefik
"PassTLSClientCert". A header that can be read in more than one way is refused: a client may have written a part of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from compat_auth.config import ClientCertificateSettings, Settings
from compat_auth.errors import InvalidToken
from compat_auth.peer import Peer

__all__ = [
    "Forwarded",
    "Names",
    "can_see_certificates",
    "read",
    "reads_certificates",
    "shown_certificate",
    "shown_thumbprint",
    "thumbprint_of",
]

_MAX_CHARS = 32 * 1024
_MAX_CERTIFICATES = 4
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_KEY = re.compile(r"[A-Za-z]+=")
_PLAIN = re.compile(r'[^",;]*')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


# What proxies write where the client has shown no certificate.
_NOTHING = frozenset(("", "-", "(null)"))
_VERIFIED = frozenset(("SUCCESS", "0"))


@dataclass(frozen=True, slots=True)
class Names:
    """The names in a certificate.

    Attributes:
        subject: As RFC 4514 writes it.
        dns: DNS names, in lower case.
        email: E-mail addresses.
        uri: URIs.
    """

    subject: str = ""
    dns: tuple[str, ...] = ()
    email: tuple[str, ...] = ()
    uri: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A client's certificate, as TLS or a proxy shows it.

    Attributes:
        certificates: DER, the client's first; () where the proxy sends only names.
        names: What the proxy says besides; the certificate itself says it better.
    """

    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    names: Names | None = None


def reads_certificates(settings: Settings) -> bool:
    """Return whether a backend of the chain looks at a client's certificate: as the credential, or beside a personal token."""
    return any("client_certificate" in name or "personal_token" in name for name in settings.auth_backends)


def can_see_certificates(settings: Settings) -> bool:
    """Return whether `[client_certificate]` says how a client's certificate gets here, and a backend looks at it."""
    section = settings.client_certificate
    by_tls = bool(section.ca_file and settings.serve.tls_cert)
    return reads_certificates(settings) and (by_tls or bool(section.proxies and section.forwarded))


def shown_certificate(section: ClientCertificateSettings, peer: Peer) -> Forwarded | None:
    """Return the certificate that the client of a request has shown; None where none can be seen.

    Args:
        section: Which proxies are believed, and how they write it.
        peer: The other end of the connection.

    Raises:
        InvalidToken: The header came twice, cannot be read in exactly one way, or the proxy has not verified it.
    """
    if peer.certificates:
        return Forwarded(peer.certificates)
    if not section.forwarded or not peer.is_in(section.proxies):
        return None
    if peer.in_forward_auth and not section.forward_auth:
        return None
    header, *verify = section.headers
    values = peer.values(header)
    if not values or (len(values) == 1 and values[0].strip() in _NOTHING):
        return None
    if len(values) > 1:
        raise InvalidToken(f"{header}: it came {len(values)} times; let the proxy overwrite it")
    for name in verify:
        said = peer.values(name)
        if len(said) != 1 or said[0] not in _VERIFIED:
            raise InvalidToken(f"{name}: not one SUCCESS; the proxy has not verified the certificate")
    return read(section.forwarded, values[0])


def shown_thumbprint(section: ClientCertificateSettings, peer: Peer) -> str:
    """Return the `x5t#S256` of the certificate that the client of a request has shown; "" where none can be seen.

    Raises:
        InvalidToken: See `shown_certificate`.
    """
    shown = shown_certificate(section, peer)
    return thumbprint_of(shown.certificates[0]) if shown is not None and shown.certificates else ""


def thumbprint_of(certificate: bytes) -> str:
    """Return the `x5t#S256` of a certificate (RFC 8705 section 3.1): 43 characters.

    Args:
        certificate: DER.
    """
    return base64.urlsafe_b64encode(hashlib.sha256(certificate).digest()).rstrip(b"=").decode("ascii")


def read_nginx(value: str) -> Forwarded:
    """Return the certificate in an escaped PEM.

    Raises:
        InvalidToken: It is none.
    """
    return Forwarded(_pems(value))


def read_haproxy(value: str) -> Forwarded:
    """Return the certificate in the base64 of a DER.

    Raises:
        InvalidToken: It is none.
    """
    return Forwarded((_base64(value),))


def read_traefik(value: str) -> Forwarded:
    """Return the certificates in PEMs without their first and last lines, separated by commas.

    Raises:
        InvalidToken: They are none.
    """
    parts = (unquote(value) if "%" in value else value).split(",")
    if len(parts) > _MAX_CERTIFICATES:
        raise InvalidToken("certificate: too many of them")
    return Forwarded(tuple(map(_base64, parts)))


def read_subject(value: str) -> Forwarded:
    """Return the subject."""
    return Forwarded(names=Names(value))


def read_envoy(value: str) -> Forwarded:
    """Return the last element: the others are those of proxies further away, or of a client.

    Raises:
        InvalidToken: The elements cannot be told apart, or the last one contradicts itself.
    """
    last = _elements(value)[-1]
    for key, values in last.items():
        if len(values) > 1 and key not in ("uri", "dns", "by"):
            raise InvalidToken(f"certificate: {key} stands there {len(values)} times")
    certificates = _pems(last.get("chain", last.get("cert", [""]))[0]) if {"chain", "cert"} & last.keys() else ()
    if certificates and "cert" in last and _pems(last["cert"][0])[0] != certificates[0]:
        raise InvalidToken("certificate: Cert is not the first of Chain")
    if certificates and "hash" in last and hashlib.sha256(certificates[0]).hexdigest() != last["hash"][0].lower():
        raise InvalidToken("certificate: Hash is another certificate's")
    names = Names(
        last.get("subject", [""])[0],
        tuple(name.lower() for name in last.get("dns", [])),
        (),
        tuple(filter(None, last.get("uri", []))),
    )
    return Forwarded(certificates, names)


READERS: Mapping[str, Callable[[str], Forwarded]] = {
    "nginx": read_nginx,
    "haproxy": read_haproxy,
    "traefik": read_traefik,
    "envoy": read_envoy,
    "subject": read_subject,
}
"""Functions that read the header, by the setting `[client_certificate] forwarded`."""


def read(kind: str, value: str) -> Forwarded:
    """Return the content of a proxy's header.

    Raises:
        InvalidToken: It cannot be read in exactly one way.
    """
    if len(value) > _MAX_CHARS or not value.isascii():
        raise InvalidToken("certificate: a header that is too long, or not ASCII")
    return READERS[kind](value)


def _elements(value: str) -> list[dict[str, list[str]]]:
    elements: list[dict[str, list[str]]] = [{}]
    at = 0
    while True:
        key = _KEY.match(value, at)
        if key is None:
            raise InvalidToken("certificate: X-Forwarded-Client-Cert: not KEY=VALUE;…")
        at = key.end()
        quoted = _QUOTED.match(value, at)
        plain = _PLAIN.match(value, at) if quoted is None else None
        text = _ESCAPED.sub(r"\1", quoted[1]) if quoted else plain[0] if plain else ""
        at = quoted.end() if quoted else plain.end() if plain else at
        elements[-1].setdefault(key[0][:-1].lower(), []).append(text)
        if at == len(value):
            return elements
        if value[at] == ",":
            elements.append({})
            at += 1
            while value[at : at + 1] == " ":
                at += 1
        elif value[at] == ";":
            at += 1
        else:
            raise InvalidToken("certificate: X-Forwarded-Client-Cert: a quote that does not end a value")


def _pems(value: str) -> tuple[bytes, ...]:
    text = unquote(value, errors="replace")
    blocks = _PEM.findall(text)
    if not 0 < len(blocks) <= _MAX_CERTIFICATES or _PEM.sub("", text).strip():
        raise InvalidToken("certificate: not a certificate in escaped PEM")
    try:
        return tuple(ssl.PEM_cert_to_DER_cert(block) for block in blocks)
    except ValueError:
        raise InvalidToken("certificate: not a certificate in escaped PEM") from None


def _base64(text: str) -> bytes:
    try:
        content = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        raise InvalidToken("certificate: not base64") from None
    if not content:
        raise InvalidToken("certificate: one is empty")
    return content

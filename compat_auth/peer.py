"""The other end of the connection: a front proxy and what it says about the caller, or a client and its TLS certificate.

Nothing here is a credential by itself. A backend that reads it says which addresses it believes (`Peer.is_in`), and sets
`reads_peer`, so that the chain asks it before any backend that reads cookies.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any, cast

import flask

from compat_auth.facts import request_facts

__all__ = ["PEER", "Peer", "request_peer"]

PEER = "compat_auth.peer"
"""Key in the WSGI environment under which a gate says who is at the other end of the connection, as a `Peer`."""

FROM_SOCKET = "compat_auth.from_socket"
"""Key in `extensions` of an ASGI scope: true where `client` is the socket's own address, as our server says it."""

_FOLD = str.maketrans("_.", "--")
_TLS = "tls"
_CHAIN = "client_cert_chain"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of the connection.

    Attributes:
        address: Of the socket, whatever forward headers say; "" where it is not known for sure.
        headers: Identity headers, with names in lower case, in the order of the wire.
        certificates: DER of the client's certificate, which TLS has verified, and of those that came with it.
        in_forward_auth: The peer is a front proxy that asks about a client's request: it may have copied the headers.
    """

    address: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    in_forward_auth: bool = False

    @property
    def speaks(self) -> bool:
        """Whether the peer says who the caller is."""
        return bool(self.headers or self.certificates)

    @property
    def evidence(self) -> bytes:
        """A digest of everything that is said about the caller and by whom; b"" where nothing is.

        A memory of decisions needs it in its key: a credential may be good beside one certificate alone.
        """
        if not self.speaks:
            return b""
        said = (self.address if self.headers else "", self.headers, self.certificates, self.in_forward_auth)
        return sha256(repr(said).encode()).digest()

    def is_in(self, networks: Sequence[str]) -> bool:
        """Return whether the peer's address is in one of the networks (CIDR notation)."""
        return bool(self.address) and is_within(self.address, tuple(networks))

    def values(self, name: str) -> list[str]:
        """Return the values of a header, one for each time that it came; of any spelling that servers fold into it."""
        wanted = name.lower().translate(_FOLD)
        return [value for found, value in self.headers if found.translate(_FOLD) == wanted]


def request_peer() -> Peer:
    """Return the other end of the connection of the current request.

    Without a gate in front, the address is the WSGI server's `REMOTE_ADDR`, as it was before werkzeug's `ProxyFix`, and
    the headers are those of the request.
    """
    environ = request_facts().environ
    told = environ.get(PEER)
    if isinstance(told, Peer):
        return told
    before: Mapping[str, Any] = environ.get("werkzeug.proxy_fix.orig", environ)
    headers = tuple((name.lower(), value) for name, value in flask.request.headers.items())
    return Peer(str(before.get("REMOTE_ADDR") or ""), headers)


def certificates_of(scope: Mapping[str, Any]) -> tuple[bytes, ...]:
    """Return the client's certificates that the server has verified, as DER (the TLS extension of ASGI)."""
    extensions = cast("Mapping[str, Mapping[str, Any]]", scope.get("extensions") or {})
    extension = extensions.get(_TLS) or {}
    chain = cast("Sequence[str]", extension.get(_CHAIN) or ())
    if extension.get("client_cert_error"):
        return ()
    return tuple(ssl.PEM_cert_to_DER_cert(pem) for pem in chain)


def tls_extension(certificate: bytes) -> dict[str, Any]:
    """Return the entry of `extensions` in an ASGI scope for a client's verified certificate.

    Args:
        certificate: DER.
    """
    return {_TLS: {_CHAIN: (ssl.DER_cert_to_PEM_cert(certificate),), "client_cert_error": None}}


@lru_cache(maxsize=4096)
def is_within(address: str, networks: tuple[str, ...]) -> bool:
    """Return whether an address is in one of the networks; an IPv4 address that IPv6 maps counts as itself."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None) or ip
    return any(mapped in ipaddress.ip_network(network, strict=False) for network in networks)


def names_address(hops: str, address: str) -> bool:
    """Return whether the address is one of these hops, which commas separate, with or without a port and quotes."""
    plain = (re.sub(r"^\[(.*)\](:\d*)?$|^([^:]*):\d*$", r"\1\3", hop.strip(' \t"')) for hop in hops.split(","))
    return address in plain

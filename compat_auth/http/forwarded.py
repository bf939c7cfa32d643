"""X-Forwarded-*: believed only from trusted proxies, and by default from nobody. No I/O, no Flask."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from compat_auth.peer import FROM_SOCKET, Peer, certificates_of, is_within, names_address

PRIVATE_SOCKET = "unix:"
"""The address of the other end of our Unix socket: the front proxy that we start, which alone may open it."""


class TrustedProxies:
    """The networks of trusted proxies, and our own front proxy at a Unix socket.

    Args:
        networks: CIDR notation; bits beyond the prefix are ignored; the configuration refuses /0.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = tuple(networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def covers(self, address: str) -> bool:
        """Return whether this peer is a trusted proxy."""
        return address == PRIVATE_SOCKET or self.names_trusted(address)

    def names_trusted(self, address: str) -> bool:
        """Return whether a text is the address of a trusted proxy; no text in a header names our Unix socket."""
        return bool(self._networks) and is_within(address, self._networks)

    def peer(self, scope: Mapping[str, Any]) -> str:
        """Return the address of the connection's other end, as the server says it; see `sure_peer`."""
        return _end_of(scope)

    def is_peer(self, scope: Mapping[str, Any], forward: Mapping[bytes, Sequence[bytes]]) -> bool:
        """Return whether a trusted proxy is at the other end of the connection, and no header may say so falsely."""
        return self.covers(self.peer(scope)) and bool(sure_peer(scope, forward))

    def client(self, scope: Mapping[str, Any], forward: Mapping[bytes, Sequence[bytes]]) -> str:
        """Return the client's address: the last one in X-Forwarded-For that is not itself a trusted proxy."""
        return self.client_behind(self.peer(scope), forward)

    def client_behind(self, address: str, forward: Mapping[bytes, Sequence[bytes]]) -> str:
        """Return the client's address; the same for the address of a connection's other end."""
        if b"x-forwarded-for" not in forward or not self.covers(address):
            return address
        hops = b",".join(forward.get(b"x-forwarded-for", ())).decode("latin-1").split(",")
        for hop in reversed([hop.strip() for hop in hops if hop.strip()]):
            try:
                address = str(ipaddress.ip_address(hop))
            except ValueError:
                # A value that no trusted proxy can have written ends the chain.
                return address
            if not self.covers(address):
                return address
        return address

    def names_hop_beyond_client(self, forward: Mapping[bytes, Sequence[bytes]]) -> bool:
        """Return whether X-Forwarded-For has entries before the client's address, unverified by any trusted proxy."""
        if b"x-forwarded-for" not in forward:
            return False
        hops = b",".join(forward[b"x-forwarded-for"]).decode("latin-1").split(",")
        trusted = [self.names_trusted(hop.strip()) for hop in hops]
        while trusted and trusted[-1]:
            trusted.pop()
        return len(trusted) > 1

    def scheme(self, scope: Mapping[str, Any], forward: Mapping[bytes, Sequence[bytes]]) -> str:
        """Return "https" or "http": the client's scheme, as far as a trusted proxy reports it."""
        is_trusted = bool(forward.get(b"x-forwarded-proto")) and self.covers(self.peer(scope))
        return scheme_behind(str(scope.get("scheme")), forward, is_trusted=is_trusted)


def scheme_behind(scheme: str, forward: Mapping[bytes, Sequence[bytes]], *, is_trusted: bool) -> str:
    """Return "https" or "http": the client's scheme.

    Args:
        scheme: That of the connection.
        forward: Forward headers of the request.
        is_trusted: Whether the other end is a trusted proxy.
    """
    values = forward.get(b"x-forwarded-proto", ())
    if values and is_trusted:
        # With several values, one of them is not from the proxy.
        return "https" if [value.strip().lower() for value in values] == [b"https"] else "http"
    return "https" if scheme == "https" else "http"


# Where proxies write the address of a client, and servers and middlewares read it.
_CLIENTS = (
    b"x-forwarded-for",
    b"x-real-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"true-client-ip",
    b"cf-connecting-ip",
)
_FOLD = bytes.maketrans(b"_.", b"--")
_FOR = re.compile(rb"(?:^|[;,])[ \t]*for=([^;,]*)", re.IGNORECASE)


def _named_clients(forward: Mapping[bytes, Sequence[bytes]]) -> str:
    """Return the addresses that forward headers name as the client's, separated by commas."""
    found = [value for name in _CLIENTS for value in forward.get(name, ())]
    # RFC 7239 section 4
    found += [element for value in forward.get(b"forwarded", ()) for element in _FOR.findall(value)]
    return b",".join(found).decode("latin-1")


def forward_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """Return the headers that name a client, in any spelling that servers fold into theirs.

    Args:
        headers: Lower-case names.
    """
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        folded = name.translate(_FOLD)
        if folded in _CLIENTS or folded == b"forwarded":
            found.setdefault(folded, []).append(value)
    return found


def sure_peer(scope: Mapping[str, Any], forward: Mapping[bytes, Sequence[bytes]]) -> str:
    """Return the address of the connection's other end; "" where a header may have chosen it.

    A server that is not ours may take the address from a header, as uvicorn does with `--proxy-headers`, and a client can
    choose what stands there.

    Args:
        scope: Of ASGI.
        forward: Forward headers of the request.
    """
    address = _end_of(scope)
    return "" if not _is_from_socket(scope) and names_address(_named_clients(forward), address) else address


def _end_of(scope: Mapping[str, Any]) -> str:
    client = scope.get("client")
    address = str(client[0]) if client else ""
    # Only our own server knows our socket. uvicorn's `--proxy-headers` copies the text from X-Forwarded-For.
    return "" if address == PRIVATE_SOCKET and not _is_from_socket(scope) else address


def _is_from_socket(scope: Mapping[str, Any]) -> bool:
    extensions = cast("Mapping[str, Any]", scope.get("extensions") or {})
    return bool(extensions.get(FROM_SOCKET))


class Peers:
    """Reads what the other end of a connection says about the caller.

    Args:
        trusted: Proxies whose identity headers are read.
        names: Names of those headers, in lower case.
    """

    def __init__(self, trusted: TrustedProxies, names: frozenset[bytes]) -> None:
        self._trusted = trusted
        self._names = names

    def of(
        self,
        scope: Mapping[str, Any],
        identity: Sequence[tuple[bytes, bytes]],
        forward: Mapping[bytes, Sequence[bytes]],
    ) -> Peer:
        """Return the other end of the connection of a request.

        Args:
            scope: Of ASGI.
            identity: Identity headers of the request.
            forward: Forward headers of the request.
        """
        address = sure_peer(scope, forward)
        if not address:
            return Peer()
        if not self._trusted.covers(address):
            return Peer(address, (), certificates_of(scope))
        # The certificate of a proxy is its own, and not the caller's.
        return Peer(
            address,
            tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in identity if name in self._names),
        )

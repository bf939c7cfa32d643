"""X-Forwarded-*: believed only from trusted proxies, and by default from nobody. No I/O, no Flask."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any


class TrustedProxies:
    """The networks of trusted proxies.

    Args:
        networks: CIDR notation; bits beyond the prefix are ignored; the configuration refuses /0.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = tuple(ipaddress.ip_network(network, strict=False) for network in networks)
        self._covers = lru_cache(maxsize=4096)(self._look)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def covers(self, address: str) -> bool:
        """Return whether this peer is a trusted proxy."""
        return bool(self._networks) and self._covers(address)

    def _look(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(ip, "ipv4_mapped", None) or ip
        return any(mapped in network for network in self._networks)

    def peer(self, scope: Mapping[str, Any]) -> str:
        """Return the address of the connection's other end, from the socket alone."""
        client = scope.get("client")
        return str(client[0]) if client else ""

    def client(self, scope: Mapping[str, Any], forward: Mapping[bytes, Sequence[bytes]]) -> str:
        """Return the client's address: the last one in X-Forwarded-For that is not itself a trusted proxy."""
        address = self.peer(scope)
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
        hops = b",".join(forward.get(b"x-forwarded-for", ())).decode("latin-1").split(",")
        trusted = [self.covers(hop.strip()) for hop in hops]
        while trusted and trusted[-1]:
            trusted.pop()
        return len(trusted) > 1

    def scheme(self, scope: Mapping[str, Any], forward: Mapping[bytes, Sequence[bytes]]) -> str:
        """Return "https" or "http": the client's scheme, as far as a trusted proxy reports it."""
        values = forward.get(b"x-forwarded-proto", ())
        if values and self.covers(self.peer(scope)):
            # With several values, one of them is not from the proxy.
            return "https" if [value.strip().lower() for value in values] == [b"https"] else "http"
        return "https" if scope.get("scheme") == "https" else "http"

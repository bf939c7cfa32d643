"""Whose word about the caller's address is believed: nobody's by default. No I/O, no Flask."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any


class TrustedProxies:
    """The networks of the proxies in front of us.

    Args:
        networks: CIDR notation, where bits beyond the prefix do not count; the configuration has refused /0.
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
        """Return the address of the other end of the connection, from the socket alone."""
        client = scope.get("client")
        return str(client[0]) if client else ""

    def client(self, scope: Mapping[str, Any], forward: Mapping[bytes, Sequence[bytes]]) -> str:
        """Return the caller's address: the last in X-Forwarded-For that no trusted proxy vouches further for."""
        address = self.peer(scope)
        if b"x-forwarded-for" not in forward or not self.covers(address):
            return address
        hops = b",".join(forward.get(b"x-forwarded-for", ())).decode("latin-1").split(",")
        for hop in reversed([hop.strip() for hop in hops if hop.strip()]):
            try:
                address = str(ipaddress.ip_address(hop))
            except ValueError:
                # What a trusted proxy cannot have written ends its word.
                return address
            if not self.covers(address):
                return address
        return address

    def names_hop_beyond_client(self, forward: Mapping[bytes, Sequence[bytes]]) -> bool:
        """Return whether X-Forwarded-For has something before the caller's address, which no trusted proxy vouches for."""
        hops = b",".join(forward.get(b"x-forwarded-for", ())).decode("latin-1").split(",")
        vouched = [self.covers(hop.strip()) for hop in hops]
        while vouched and vouched[-1]:
            vouched.pop()
        return len(vouched) > 1

    def scheme(self, scope: Mapping[str, Any], forward: Mapping[bytes, Sequence[bytes]]) -> str:
        """Return "https" or "http": how the caller came, as far as a trusted proxy vouches for it."""
        values = forward.get(b"x-forwarded-proto", ())
        if values and self.covers(self.peer(scope)):
            # One word, or it is not the proxy's alone.
            return "https" if [value.strip().lower() for value in values] == [b"https"] else "http"
        return "https" if scope.get("scheme") == "https" else "http"

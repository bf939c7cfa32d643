"""The address range of a caller: enough to find a script's machine, too little to follow a person. No I/O."""

from __future__ import annotations

import ipaddress
from typing import Final

_MAX_CACHED: Final = 4096


def network_of(address: str) -> str:
    """Return the /24 (IPv4) or the /48 (IPv6) of an address; "" for what is no address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, 48), strict=False))
        found = found.ipv4_mapped
    return str(ipaddress.ip_network((found, 24), strict=False))


class Networks:
    """Remembers the ranges of addresses; one process. Any thread may use it."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def name_of(self, address: str) -> str:
        """Return the range of an address; see `network_of`."""
        found = self._known.get(address)
        if found is None:
            if len(self._known) >= _MAX_CACHED:
                self._known = {}
            found = self._known[address] = network_of(address)
        return found

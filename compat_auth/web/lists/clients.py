"""Short names for clients and networks: enough to recognize one's own, and no fingerprint."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_MAX_READ = 512
# The first that matches counts: most browsers also name those that they descend from.
_BROWSERS = (
    ("Edge", re.compile(r"\bEdg(?:e|A|iOS)?/")),
    ("Opera", re.compile(r"\b(?:OPR|Opera)/")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/")),
    ("Chrome", re.compile(r"\b(?:Headless)?(?:Chrome|Chromium|CriOS)/")),
    ("Safari", re.compile(r"\bSafari/")),
    ("Internet Explorer", re.compile(r"\bTrident/|\bMSIE ")),
)
_SYSTEMS = (
    ("iOS", re.compile(r"\b(?:iPhone|iPad|iPod)\b")),
    ("Android", re.compile(r"\bAndroid\b")),
    ("Windows", re.compile(r"\bWindows\b")),
    ("ChromeOS", re.compile(r"\bCrOS\b")),
    ("macOS", re.compile(r"\bMac(?:intosh| OS X)\b")),
    ("Linux", re.compile(r"\b(?:Linux|X11)\b")),
)
# The first product of a program (RFC 9110 section 10.1.5).
_PRODUCT = re.compile(r"([A-Za-z][A-Za-z0-9._-]{0,31})(?:[/ (]|\Z)")
_IPV4_BITS, _IPV6_BITS = 24, 48


@dataclass(frozen=True, slots=True)
class Client:
    """The client of a request.

    Attributes:
        browser: Its browser, from a fixed list, or "".
        system: Its operating system, from a fixed list, or "".
    """

    browser: str = ""
    system: str = ""


def read_browser(user_agent: str) -> Client:
    """Return the browser and the system that a User-Agent names, without versions and models."""
    text = user_agent[:_MAX_READ]
    return Client(
        next((name for name, pattern in _BROWSERS if pattern.search(text)), ""),
        next((name for name, pattern in _SYSTEMS if pattern.search(text)), ""),
    )


def client_name(user_agent: str) -> str:
    """Return the name of a browser or of a program, such as "Firefox" or "curl"; "" for none that is plausible."""
    browser = read_browser(user_agent).browser
    found = _PRODUCT.match(user_agent[:_MAX_READ])
    return browser or (found[1] if found else "")


def network_range(address: str) -> str:
    """Return the network that an address is in, with its family: "192.0.2.0/24 (IPv4)"; "" for no address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        # A server that listens on IPv6 sees IPv4 as a mapped address (RFC 4291 section 2.5.5.2).
        found = found.ipv4_mapped
    bits = _IPV6_BITS if isinstance(found, ipaddress.IPv6Address) else _IPV4_BITS
    return f"{ipaddress.ip_network(f'{found}/{bits}', strict=False)} (IPv{found.version})"

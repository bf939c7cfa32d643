"""The one place that may see a client's credential and its token. No I/O."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from compat_auth.client.errors import UnsafeAddress

__all__ = ["Origin"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
# Stricter than RFC 3986: no user information, no backslash, no fragment, and after the host comes a slash or nothing,
# because that is where programs disagree about which host a URL names.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>\d{1,5}))?(?P<path>/.*)?", re.IGNORECASE
)
_VISIBLE = re.compile(r"[!-\[\]-~]*")


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port (RFC 6454 section 4).

    Attributes:
        scheme: `http` or `https`, in lower case.
        host: In lower case, an IPv6 address without brackets.
        port: Always a number.
    """

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def is_protected(self) -> bool:
        """Nobody between the two ends can read along: it is TLS, or does not leave this machine."""
        return self.scheme == "https" or self.host == "localhost" or _is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class Server:
    """Where a client logs in.

    Attributes:
        origin: Who alone gets to see the credential and the token.
        base: URL without a slash at the end; `/auth/token` stands below it.
    """

    origin: Origin
    base: str

    @property
    def token_url(self) -> str:
        """Where a credential is exchanged for a token."""
        return f"{self.base}/auth/token"

    @property
    def whoami_url(self) -> str:
        """Where a gateway says whose a credential is; an Airflow without a gateway has no such place."""
        return f"{self.base}/compat-auth/whoami"

    @property
    def revocation_url(self) -> str:
        """Where a token is taken back (RFC 7009); an Airflow without a gateway has no such place."""
        return f"{self.base}/compat-auth/revoke"


def make_origin(scheme: str, host: str, port: int | None) -> Origin:
    """Return the origin of a URL that a library has taken apart; an unknown scheme has port 0, which nobody has."""
    scheme = scheme.lower()
    return Origin(scheme, host.lower().strip("[]"), port or _DEFAULT_PORTS.get(scheme, 0))


def parse_url(url: str) -> tuple[Origin, str]:
    """Return the origin of an absolute URL, and what follows it.

    Raises:
        UnsafeAddress: Two programs could read it differently, or it is no address of a web server.
    """
    found = _URL.fullmatch(url)
    if found is None or not _VISIBLE.fullmatch(url):
        raise UnsafeAddress(
            "the address is not https://HOST[:PORT][/PATH] in plain ASCII, without user name, backslash and the like"
        )
    port = int(found["port"]) if found["port"] else None
    return make_origin(found["scheme"], found["host"], port), found["path"] or ""


def parse_server(url: str, *, allow_http: bool = False) -> Server:
    """Return the server that the URL names.

    Args:
        url: As a person writes it, such as `https://airflow.example.com` or `http://127.0.0.1:8088`.
        allow_http: Passwords and tokens may cross the network in clear text.

    Raises:
        UnsafeAddress: As in `parse_url`; or the credential would travel unprotected.
    """
    origin, path = parse_url(url)
    if "?" in path or "#" in path:
        raise UnsafeAddress(f"{origin}: the address of a server ends before '?' and '#'")
    if not origin.is_protected and not allow_http:
        raise UnsafeAddress(
            f"{origin}: everybody on the way could read the credential; use https, or say that plain http is wanted"
        )
    return Server(origin, f"{origin}{path.rstrip('/')}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

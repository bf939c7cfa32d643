"""The only server that may see a client's credential and token. No I/O."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from compat_auth.client.errors import UnsafeAddress

__all__ = ["Origin"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
# Stricter than RFC 3986: no user information, backslash or fragment, and after the host only a slash or nothing,
# because programs disagree about which host such a URL names.
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
        """Whether nobody between client and server can read: TLS, or a connection within this machine."""
        return self.scheme == "https" or self.host == "localhost" or _is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class Server:
    """The server at which a client logs in.

    Attributes:
        origin: The only origin that sees the credential and the token.
        base: URL without a final slash; `/auth/token` is below it.
    """

    origin: Origin
    base: str

    @property
    def token_url(self) -> str:
        """URL of the token endpoint."""
        return f"{self.base}/auth/token"

    @property
    def whoami_url(self) -> str:
        """URL at which a gateway says whose a credential is; Airflow without a gateway has none."""
        return f"{self.base}/compat-auth/whoami"

    @property
    def revocation_url(self) -> str:
        """URL of the revocation endpoint (RFC 7009); Airflow without a gateway has none."""
        return f"{self.base}/compat-auth/revoke"


def make_origin(scheme: str, host: str, port: int | None) -> Origin:
    """Return the origin of a URL that a library has parsed; an unknown scheme has port 0, which matches no server."""
    scheme = scheme.lower()
    return Origin(scheme, host.lower().strip("[]"), port or _DEFAULT_PORTS.get(scheme, 0))


def parse_url(url: str) -> tuple[Origin, str]:
    """Return the origin of an absolute URL, and the rest of the URL.

    Raises:
        UnsafeAddress: Programs could read the URL differently, or it is not a web server's.
    """
    found = _URL.fullmatch(url)
    if found is None or not _VISIBLE.fullmatch(url):
        raise UnsafeAddress(
            "the address is not https://HOST[:PORT][/PATH] in plain ASCII, without user name, backslash and the like"
        )
    port = int(found["port"]) if found["port"] else None
    return make_origin(found["scheme"], found["host"], port), found["path"] or ""


def parse_server(url: str, *, allow_http: bool = False) -> Server:
    """Return the server that a URL names.

    Args:
        url: As typed, such as `https://airflow.example.com` or `http://127.0.0.1:8088`.
        allow_http: Allow passwords and tokens to cross the network in clear text.

    Raises:
        UnsafeAddress: As for `parse_url`; or the credential would be unprotected.
    """
    origin, path = parse_url(url)
    if "?" in path or "#" in path:
        raise UnsafeAddress(f"{origin}: a server's address has no '?' or '#'; remove them and what follows")
    if not origin.is_protected and not allow_http:
        raise UnsafeAddress(
            f"{origin}: others on the network could read the credential; use https, or allow plain http explicitly"
        )
    return Server(origin, f"{origin}{path.rstrip('/')}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

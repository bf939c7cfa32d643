"""Requests to one URL of an identity provider, by the HTTP client of `http_call`.

No redirect is followed: a redirect chooses which server we trust.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from compat_auth.crypto.file_modes import refuse_writable_at
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.net.http_call import HttpPeer, NoAnswer
from compat_auth.net.tls import verified_tls

MAX_ANSWER_BYTES = 256 * 1024
CONNECT_TIMEOUT_S = 3.0
# For the whole answer, however slowly its bytes come.
ANSWER_TIMEOUT_S = 5.0
_NOT_ASCII_URL = re.compile(r"[\x00-\x20\x7f-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class EndpointAnswer:
    """The answer of an endpoint.

    Attributes:
        status: HTTP status; a redirect is an answer like any other.
        headers: Names in lower case; of a repeated one the last.
        body: At most 256 KiB.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL that is safe to ask. Any thread may ask; each request has its own connection.

    Attributes:
        url: As configured or discovered.
        origin: Scheme, host and port (RFC 6454 section 4).
    """

    url: str
    origin: tuple[str, str, int]
    target: str
    tls: ssl.SSLContext | None = field(repr=False, compare=False)
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    answer_timeout_s: float = ANSWER_TIMEOUT_S

    @classmethod
    def parse(cls, url: str, *, where: str, ca_file: str = "") -> Endpoint:
        """Return the endpoint of a URL.

        Args:
            url: https, or http on a loopback address.
            where: What to call it in an error.
            ca_file: PEM file of the authorities that are believed; "" means the system's.

        Raises:
            ConfigError: It is not such a URL, or the CA file cannot be read.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigError(f"{where}: not a URL; set it, such as https://login.example.com") from None
        host = parts.hostname or ""
        if _NOT_ASCII_URL.search(url) or parts.username is not None or parts.fragment or not host:
            raise ConfigError(f"{where}: only scheme, ASCII host, port, path and query; remove the rest")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
            raise ConfigError(f"{where}: must be https (http is for loopback addresses only); correct the URL")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        origin = (parts.scheme, host, port or (443 if parts.scheme == "https" else 80))
        return cls(url, origin, target, _tls(ca_file, where) if parts.scheme == "https" else None)

    def get(self, headers: Mapping[str, str] | None = None) -> EndpointAnswer:
        """Return the answer to a GET.

        Raises:
            BackendUnavailable: No whole answer came in time.
        """
        return self._ask("GET", None, headers or {})

    def post_form(self, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> EndpointAnswer:
        """Return the answer to a form that is posted.

        Raises:
            BackendUnavailable: No whole answer came in time.
        """
        content_type = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._ask("POST", urlencode(form).encode("ascii"), {**content_type, **(headers or {})})

    def post(self, body: bytes, headers: Mapping[str, str]) -> EndpointAnswer:
        """Return the answer to a body that is posted, of the type that the headers say.

        Raises:
            BackendUnavailable: No whole answer came in time.
        """
        return self._ask("POST", body, headers)

    def _ask(self, method: str, body: bytes | None, headers: Mapping[str, str]) -> EndpointAnswer:
        _, host, port = self.origin
        peer = HttpPeer(
            host, port, self.tls, self.connect_timeout_s, self.answer_timeout_s, max_body_bytes=MAX_ANSWER_BYTES
        )
        try:
            answer = peer.ask(method, self.target, body, headers)
        except NoAnswer as exc:
            raise BackendUnavailable(f"{self.url}: {exc}") from None
        return EndpointAnswer(answer.status, answer.headers, answer.body)


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls(ca_file: str, where: str) -> ssl.SSLContext:
    if ca_file:
        refuse_writable_at(Path(ca_file))
    return verified_tls(ca_file, where)

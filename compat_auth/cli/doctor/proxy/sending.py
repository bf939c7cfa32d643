"""Sends the requests of a probe: to one host only, no redirect followed, and not more than a few, for a short time."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from compat_auth.errors import BackendUnavailable, InvalidValue
from compat_auth.net.http_call import HttpAnswer, HttpPeer, NoAnswer
from compat_auth.net.tls import verified_tls

MAX_REQUESTS = 200
MAX_SECONDS = 120.0
_WAIT_S = 5.0
_MAX_BODY_BYTES = 256 * 1024
_TOO_MANY = 429


class Stopped(Exception):
    """The probe has to end: the message says why."""


@dataclass
class Site:
    """The site that is probed.

    Attributes:
        url: Its address, without a slash at its end.
        root: Its path, without a slash at its end.
        host: Host and port.
        peer: The HTTP client.
        on_request: Is called after each request with the number so far.
        sent: How many requests were sent.
    """

    url: str
    root: str
    host: str
    peer: HttpPeer = field(repr=False)
    on_request: Callable[[int], None] = field(repr=False, default=lambda _: None)
    sent: int = 0
    _began: float = field(default_factory=time.monotonic)

    @classmethod
    def parse(cls, url: str, on_request: Callable[[int], None]) -> Site:
        """Return the site of a URL.

        Raises:
            InvalidValue: It is not a URL of a site.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii() or not url.isprintable():
            raise InvalidValue(
                "--probe: not a URL; write the address that clients use, such as https://airflow.example.org"
            )
        if parts.username is not None or parts.query or parts.fragment:
            raise InvalidValue("--probe: a host and perhaps a path; remove user, password, query and fragment")
        is_secure = parts.scheme == "https"
        tls = verified_tls("", "--probe") if is_secure else None
        peer = HttpPeer(parts.hostname, port or (443 if is_secure else 80), tls, _WAIT_S, _WAIT_S, _MAX_BODY_BYTES)
        root = parts.path.rstrip("/")
        return cls(f"{parts.scheme}://{parts.netloc}{root}", root, parts.netloc, peer, on_request)

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> HttpAnswer | None:
        """Return the answer to a GET; None if the proxy refuses it by closing the connection.

        Raises:
            Stopped: The limits are reached, or the site asks for fewer requests.
        """
        if self.sent >= MAX_REQUESTS or time.monotonic() - self._began > MAX_SECONDS:
            raise Stopped(f"stopped after {self.sent} requests; the site is too slow for the rest")
        self.sent += 1
        try:
            answer = self.peer.ask("GET", target, None, {"User-Agent": "compat-auth-doctor", **(headers or {})})
        except NoAnswer:
            answer = None
        self.on_request(self.sent)
        if answer is not None and answer.status == _TOO_MANY:
            raise Stopped(f"stopped after {self.sent} requests: the site answers 429; try again later")
        return answer

    def must_get(self, target: str, headers: Mapping[str, str] | None = None) -> HttpAnswer:
        """Return the answer to a GET.

        Raises:
            BackendUnavailable: There is none.
            Stopped: See `get`.
        """
        answer = self.get(target, headers)
        if answer is None:
            raise BackendUnavailable(
                f"--probe: {self.url}: no answer over HTTP within {_WAIT_S:g} s; check the address, and that this machine "
                "trusts its certificate"
            )
        return answer


def basic_header(name: str, password: str) -> dict[str, str]:
    """Return the header with a name and a password (RFC 7617)."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode("ascii")}

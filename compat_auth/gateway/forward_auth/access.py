"""Checks who may ask for a decision: a front proxy, and no client behind one.

A client can reach every listener that a trusted proxy serves, with any headers. So the address of the peer is
not enough: the endpoint answers on a separate listener, or to a request with a secret that only the proxy knows.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from compat_auth.config import Settings
from compat_auth.errors import ConfigError, NotPermitted
from compat_auth.gateway.middleware import Page
from compat_auth.http.asgi import Receive, Send
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.request import GateRequest

logger = logging.getLogger("compat_auth.forward_auth")

SECRET_HEADER = b"x-compat-auth-proxy-secret"
"""The header that only the front proxy sends. The intake drops it with all of `X-Compat-Auth-*`: it goes no further."""
MIN_SECRET = 32
"""Shortest secret, in characters."""
_HINT_PAUSE_S = 60.0
_HINTED: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class Access:
    """Checks who may ask.

    Attributes:
        secret: What the front proxy sends in SECRET_HEADER; b"": the listener serves front proxies alone.
    """

    secret: bytes = field(default=b"", repr=False)

    def require(self, trusted: TrustedProxies, request: GateRequest) -> None:
        """Raise unless the front proxy itself sent the request.

        Raises:
            NotPermitted: A client may have sent it through a proxy; the log says why.
        """
        peer = trusted.peer(request.scope)
        reason = self.find_fault(trusted, peer, request.scope["headers"], request.intake.forward)
        if reason:
            hint(f"forward-auth: refused: {reason}")
            raise NotPermitted("forward-auth: only for the front proxy; the log says what to do")

    def hide(self, page: Page, instead: Page, trusted: TrustedProxies) -> Page:
        """Return a page that only the front proxy itself reaches; all others get another one."""

        async def answer(request: GateRequest, receive: Receive, send: Send) -> None:
            peer = trusted.peer(request.scope)
            is_hidden = self.find_fault(trusted, peer, request.scope["headers"], request.intake.forward)
            await (instead if is_hidden else page)(request, receive, send)

        return answer

    def find_fault(
        self,
        trusted: TrustedProxies,
        peer: str,
        headers: Sequence[tuple[bytes, bytes]],
        forward: Mapping[bytes, Sequence[bytes]],
    ) -> str:
        """Return why a request may not come from the front proxy itself; "" where it does.

        Args:
            trusted: The proxies whose headers are believed.
            peer: Address of the connection's other end.
            headers: As received.
            forward: Forward headers among them.
        """
        if not trusted.covers(peer):
            return "the asking address is not in trusted_proxies; name the front proxy there"
        if self.secret:
            found = [value for name, value in headers if name == SECRET_HEADER]
            # Two values: a client has sent one of them.
            if len(found) != 1 or not hmac.compare_digest(found[0], self.secret):
                return "X-Compat-Auth-Proxy-Secret is not [forward_auth] secret; let the front proxy set it"
        if trusted.names_hop_beyond_client(forward):
            return (
                "X-Forwarded-For names a hop beyond the proxy; let the front proxy set it to the client's address alone, "
                "or name the proxies in between in trusted_proxies"
            )
        return ""


def access_of(settings: Settings) -> Access | None:
    """Return the check of who may ask; None if forward-auth is off.

    Raises:
        ConfigError: The settings would let clients ask, or let nobody ask.
    """
    section, secret = settings.forward_auth, settings.forward_auth.secret.get_secret_value()
    if not section.bind and not secret:
        return None
    if secret and (len(secret) < MIN_SECRET or not secret.isascii() or not secret.isprintable() or " " in secret):
        raise ConfigError(
            f"forward_auth.secret: at least {MIN_SECRET} printable ASCII characters without blanks; "
            "make one with: openssl rand -hex 32"
        )
    if not settings.trusted_proxies:
        raise ConfigError(
            "forward_auth: on, but trusted_proxies is empty, so nobody would get an answer; "
            'name the front proxy, such as trusted_proxies = ["127.0.0.1/32"]'
        )
    host, _, port = section.bind.rpartition(":")
    if section.bind and not secret and not _is_loopback(host):
        raise ConfigError(
            f"forward_auth.bind: {section.bind}: others than this machine reach it; "
            "set forward_auth.secret, too, or bind to 127.0.0.1"
        )
    if section.bind and int(port) and port == settings.serve.bind.rpartition(":")[2]:
        raise ConfigError(f"forward_auth.bind: {section.bind}: the port of serve.bind; choose another")
    return Access(secret.encode("ascii"))


def port_of(settings: Settings) -> int | None:
    """Return the port of the listener that serves front proxies alone; None if there is none."""
    bind = settings.forward_auth.bind
    return int(bind.rpartition(":")[2]) if bind else None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def hint(text: str) -> None:
    """Log a line that an operator needs; the same one once a minute, since anybody can cause it."""
    now = time.monotonic()
    if now >= _HINTED.get(text, 0.0):
        _HINTED[text] = now + _HINT_PAUSE_S
        logger.warning("%s", text)

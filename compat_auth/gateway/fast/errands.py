"""Writes the requests that go to the upstream past the ASGI application, byte for byte as the proxy writes them."""

from __future__ import annotations

from urllib.parse import urlsplit

from compat_auth.config import UpstreamSettings
from compat_auth.gateway.fast.candidate import Candidate, Ends, TakesOrdinaryWay
from compat_auth.gateway.fast.upstream.connection import UpstreamConnection
from compat_auth.gateway.fast.upstream.errand import Client, Errand
from compat_auth.gateway.fast.upstream.pool import UpstreamPool
from compat_auth.gateway.fast.warm_grants import WarmGrants
from compat_auth.gateway.proxy.header_rules import HOP_BY_HOP, forwarded_headers
from compat_auth.gateway.telemetry.usage import agent_of
from compat_auth.http.asgi import RawHeaders
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.telemetry.access_log import OPTIONS
from compat_auth.telemetry.request_ids import request_id_of
from compat_auth.usage.recorder import UsageRecorder

_BODILESS = frozenset((b"GET", b"HEAD"))
# Requests with these go the ordinary way, which knows what they mean.
_UNUSUAL = frozenset((b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect", b"http2-settings"))


class Errands:
    """Requests to the upstream.

    Args:
        warm: Finds grants.
        settings: The upstream's URL and its time limits.
        trusted: Proxies whose headers about the caller are believed.
        below: Prefix of the paths whose requests are forwarded unchanged.
        prefix: Where our own pages live, with both slashes.
        pages: Whole paths of our own pages elsewhere; one that ends with a slash stands for all below it.
        usage: Counts who uses what; None: nobody does.
        renews_cookies: A browser with a session gets the upstream's cookie with any answer.
    """

    def __init__(
        self,
        warm: WarmGrants,
        settings: UpstreamSettings,
        trusted: TrustedProxies,
        *,
        below: bytes,
        prefix: bytes,
        pages: frozenset[bytes],
        renews_cookies: bool,
        usage: UsageRecorder | None = None,
    ) -> None:
        self._warm = warm
        self._renews_cookies = renews_cookies
        self._trusted = trusted
        self.pool = UpstreamPool(settings)
        self._below = below
        self._base = urlsplit(settings.url).path.rstrip("/").encode("ascii")
        self._trees = (prefix, *(page for page in pages if page.endswith(b"/")))
        self._pages = pages
        self._usage = usage

    def errand(self, asked: Candidate, ends: Ends) -> Errand:
        """Return the errand for a request.

        Raises:
            TakesOrdinaryWay: The request is unusual, or its decision is not in memory.
        """
        if self.pool.is_full:
            raise TakesOrdinaryWay
        target = asked.url
        intake = self._warm.take_in(asked.headers, target.partition(b"?")[2])
        path, query = self._warm.read_target(target)
        if not path.startswith(self._below) or path in self._pages or path.startswith(self._trees):
            raise TakesOrdinaryWay
        method = asked.method.decode("ascii")
        if intake.authorization is None and self._renews_cookies:
            raise TakesOrdinaryWay
        granted = None
        bearer = self._warm.upstreams_bearer(intake, method, path)
        if bearer is None:
            granted = self._warm.find(intake, method, path, ends)
            bearer = granted.bearer
        out = [
            b"%b %b%b%b HTTP/1.1\r\nhost: %b"
            % (asked.method, self._base, path, b"?" + query if query else b"", intake.host)
        ]
        out += _kept(intake.kept)
        request_id = request_id_of(asked.headers, is_trusted=ends.is_trusted)
        out.append(b"\r\nx-request-id: %b\r\nauthorization: %b" % (request_id, bearer))
        out += [b"\r\ncookie: " + value for value in intake.cookies]
        for name, value in forwarded_headers(ends.peer, ends.scheme, intake, is_trusted=ends.is_trusted):
            out += (b"\r\n", name, b": ", value)
        if asked.method not in _BODILESS and not any(name == b"content-length" for name, _ in intake.kept):
            out.append(b"\r\nContent-Length: 0")
        out.append(b"\r\n\r\n")
        out += asked.body
        errand = Errand(b"".join(out), asked.method, granted, request_id=request_id, path=path)
        if OPTIONS.is_on or self._usage is not None:
            errand.caller = self._trusted.client_behind(ends.peer, intake.forward)
            errand.agent = agent_of(intake.kept)
        return errand

    def count(self, errand: Errand) -> None:
        """Count a request whose answer has ended, or never will."""
        usage, granted = self._usage, errand.granted
        if usage is None:
            return
        method, path = errand.method.decode("ascii"), errand.path.decode("ascii")
        if granted is None:
            usage.count_upstreams(method, path, status=errand.status, agent=errand.agent)
            return
        is_error = errand.status >= 400 or not errand.status
        usage.count(
            method, path, identity=granted.identity, agent=errand.agent, address=errand.caller, is_error=is_error
        )

    def send(self, client: Client, errand: Errand) -> UpstreamConnection:
        """Send a request to the upstream; its answer goes to the client."""
        return self.pool.send(client, errand)

    def close(self) -> None:
        """Close the connections."""
        self.pool.close()


def _kept(headers: RawHeaders) -> list[bytes]:
    """Return the header lines that pass to the upstream.

    Raises:
        TakesOrdinaryWay: There is one that only the proxy knows how to forward.
    """
    lines: list[bytes] = []
    for name, value in headers:
        if name in HOP_BY_HOP:
            if name in _UNUSUAL or (name == b"connection" and value.lower() != b"keep-alive"):
                raise TakesOrdinaryWay
        else:
            lines += (b"\r\n", name, b": ", value)
    return lines

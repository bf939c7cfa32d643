"""Decides which requests take the fast path: with an answer at once, or with an errand to the upstream."""

from __future__ import annotations

from compat_auth.audit.losses import LOSSES
from compat_auth.gateway.fast.candidate import Candidate, Ends, TakesOrdinaryWay
from compat_auth.gateway.fast.errands import Errands
from compat_auth.gateway.fast.forward_auth_answers import ForwardAuthAnswers
from compat_auth.gateway.fast.lane_answers import LaneAnswers
from compat_auth.gateway.fast.upstream.connection import UpstreamConnection
from compat_auth.gateway.fast.upstream.errand import Client, Errand
from compat_auth.http.forwarded import TrustedProxies


class FastPaths:
    """The fast paths of one process; one event loop.

    Args:
        trusted: Proxies whose headers about the caller are believed.
        forward_auth: Answers front proxies; None: forward-auth is off.
        errands: Forwards requests; None: every request is forwarded by the ASGI application.
        front_port: The port of the listener that serves front proxies alone; None: there is none.
        lane: Answers front proxies that ask about a credential; None: forward-auth is off.
    """

    def __init__(
        self,
        trusted: TrustedProxies,
        forward_auth: ForwardAuthAnswers | None,
        errands: Errands | None,
        front_port: int | None,
        lane: LaneAnswers | None = None,
    ) -> None:
        self._trusted = trusted
        self._forward_auth = forward_auth
        self.errands = errands
        self._front_port = front_port
        self._lane = lane

    def ends(
        self,
        server: tuple[str, int | None] | None,
        client: tuple[str, int] | None,
        scheme: str,
        *,
        has_certificate: bool,
    ) -> Ends:
        """Return the facts that decide about all requests of one connection.

        Args:
            server: Our address, by the socket.
            client: Address of the other end, by the socket.
            scheme: "http" or "https", by the socket.
            has_certificate: Whether the other end has shown a client certificate.
        """
        peer = str(client[0]) if client else ""
        # The socket's own address decides, not a header.
        is_front = self._front_port is not None and server is not None and server[1] == self._front_port
        return Ends(peer, self._trusted.covers(peer), scheme, is_front, has_certificate)

    def plan(self, asked: Candidate, ends: Ends) -> bytes | Errand:
        """Return the answer to a complete request, or the errand for it.

        Raises:
            TakesOrdinaryWay: The ASGI application answers it.
        """
        # A decision may depend on a certificate, and is remembered beside it.
        if LOSSES.is_failing or ends.has_certificate:
            raise TakesOrdinaryWay
        forward_auth, errands = self._forward_auth, self.errands
        if forward_auth is not None and (dialect := forward_auth.pages.get(asked.url)) is not None:
            return forward_auth.answer(asked, dialect, ends)
        lane = self._lane
        if lane is not None and asked.url == lane.page:
            return lane.answer(asked, ends)
        if errands is None or ends.is_front:
            raise TakesOrdinaryWay
        return errands.errand(asked, ends)

    def send(self, client: Client, errand: Errand) -> UpstreamConnection:
        """Send a request to the upstream; its answer goes to the client."""
        assert self.errands is not None  # noqa: S101  # it has made the errand
        return self.errands.send(client, errand)

    def count(self, errand: Errand) -> None:
        """Count a request whose answer has ended, or never will."""
        if self.errands is not None:
            self.errands.count(errand)

    def close(self) -> None:
        """Close the connections to the upstream."""
        if self.errands is not None:
            self.errands.close()

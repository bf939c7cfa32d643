"""A request that may take the fast path: what the parser said about it."""

from __future__ import annotations

from dataclasses import dataclass, field

from compat_auth.http.asgi import RawHeaders


class TakesOrdinaryWay(Exception):  # no error: the ASGI application does the rest
    """The gate would wait, refuse, or do anything else than answer at once: the ASGI application does it."""


@dataclass(slots=True)
class Candidate:
    """A request of HTTP/1.1 on a kept connection, without `Transfer-Encoding`, `Expect` and `Upgrade`.

    It also answers the questions that uvicorn asks its parser about the current request, so that uvicorn can read the
    request later: its own parser may be further by then.

    Attributes:
        method: Request method.
        url: Request target: begins with one slash and has no fragment.
        headers: Lower-case names, in the order received.
        length: Bytes of the body, by `Content-Length`.
        body: The pieces of the body that have arrived.
        is_complete: Whether the whole body has arrived.
        is_awaited: Whether the clock for the rest of the body runs.
    """

    method: bytes
    url: bytes
    headers: RawHeaders = field(repr=False)
    length: int = 0
    body: list[bytes] = field(default_factory=list[bytes], repr=False)
    is_complete: bool = False
    is_awaited: bool = False

    def get_method(self) -> bytes:
        """Return the method."""
        return self.method

    def get_http_version(self) -> str:
        """Return the version."""
        return "1.1"

    def should_keep_alive(self) -> bool:
        """Return whether the client keeps the connection."""
        return True

    def should_upgrade(self) -> bool:
        """Return whether the client asks for another protocol."""
        return False


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of a client's connection.

    Attributes:
        peer: Address of the other end, by the socket.
        is_trusted: Whether that is a trusted proxy.
        scheme: "http" or "https", by the socket.
        is_front: Whether the connection came to the listener of forward-auth.
        has_certificate: Whether the other end has shown a client certificate.
    """

    peer: str
    is_trusted: bool
    scheme: str
    is_front: bool
    has_certificate: bool

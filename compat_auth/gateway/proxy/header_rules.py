"""Which headers pass between client and upstream: one place for both ways to the upstream. No I/O.

Hop-by-hop headers are not forwarded (RFC 9110 section 7.6.1), and neither are those that `Connection` nominates, except
the ones that say who the caller is, which request it is, or what the body is.
"""

from __future__ import annotations

import re

from compat_auth.http.asgi import RawHeaders
from compat_auth.http.forwarded import PRIVATE_SOCKET
from compat_auth.http.headers import Intake

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade expect http2-settings".split()
)
# A Connection header may not nominate these away: they carry the identity or our request id, or say what the body is.
_NOT_NOMINABLE = frozenset(b"authorization cookie host content-length content-type x-request-id".split())
BODILESS = frozenset((204, 304))
"""Statuses without a body. The length of what is not sent is allowed (RFC 9110 8.6), but servers take it for a promise."""
REPLAYABLE_BYTES = 64 * 1024
"""A request body up to this size is held, so that the request can be sent again with a fresh token."""
# RFC 9110 5.5: no control character but the tab.
_VALUE_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def nominated(value: bytes) -> frozenset[bytes]:
    """Return the headers that a `Connection` value takes away, in lower case."""
    return frozenset(name.strip().lower() for name in value.split(b",")) - _NOT_NOMINABLE


def forwarded_headers(peer: str, scheme: str, intake: Intake, *, is_trusted: bool) -> RawHeaders:
    """Return the `X-Forwarded-*` headers for the upstream: a trusted proxy's word about the client, else what we see.

    Args:
        peer: Address of the client's end of the connection.
        scheme: The connection's own, "http" or "https".
        intake: The request's header section.
        is_trusted: Whether the peer is a trusted proxy.
    """
    forward = intake.forward if is_trusted else {}
    # Our own front proxy is a part of the gateway: the upstream learns of the client, as it does without it.
    own_hop = () if peer == PRIVATE_SOCKET else (peer.encode("ascii"),)
    hops = b", ".join((*forward.get(b"x-forwarded-for", ()), *own_hop))
    headers: RawHeaders = [(b"X-Forwarded-For", hops)]
    for name, key, own in (
        (b"X-Forwarded-Proto", b"x-forwarded-proto", scheme.encode("ascii")),
        (b"X-Forwarded-Host", b"x-forwarded-host", intake.host),
    ):
        vouched = forward.get(key)
        said = vouched[-1] if vouched else own
        if said:
            headers.append((name, said))
    return headers


def answer_headers(status: int, raw_headers: RawHeaders) -> RawHeaders | None:
    """Return the headers of an upstream's answer that pass to the client, names in lower case; None if HTTP forbids one.

    Args:
        status: Of the answer.
        raw_headers: As received.
    """
    dropped = HOP_BY_HOP
    for name, value in raw_headers:
        if name.lower() == b"connection":
            dropped = dropped | nominated(value)
    if status in BODILESS:
        dropped = dropped | {b"content-length"}
    headers = [(lower, value) for name, value in raw_headers if (lower := name.lower()) not in dropped]
    if not 200 <= status < 600 or any(_VALUE_FORBIDDEN.search(value) for _, value in headers):
        return None
    return headers

"""CSRF check: whether a request that changes something comes from our own pages. No I/O, no Flask.

A browser adds cookies even to requests that another site causes. But it also says where a request comes from: in
`Sec-Fetch-Site` (W3C Fetch Metadata), or at least in `Origin` (RFC 6454 section 7). A client that sends neither must
send the session's own token.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

TOKEN_HEADER = "X-CSRF-Token"  # noqa: S105  # the name, not a token
# RFC 9110 9.2.1, without TRACE.
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
HANDSHAKE = "WEBSOCKET"
"""Stands for the method of a WebSocket's handshake: a GET, but what it opens another site's page can read and write
(RFC 6455 section 10.2)."""
# "none": caused by the user, such as a bookmark. "same-site" is another host, perhaps another team's.
_OWN = frozenset(("same-origin", "none"))
_DEFAULT_PORTS = (("http://", ":80"), ("https://", ":443"))


@dataclass(frozen=True, slots=True)
class Source:
    """The parts of a request that say where it comes from; None where a part is missing.

    Attributes:
        sec_fetch_site: `Sec-Fetch-Site`.
        origin: `Origin`.
        own_origin: Our own origin: scheme, "://" and Host.
        token: The CSRF token in the request, or "".
    """

    sec_fetch_site: str | None
    origin: str | None
    own_origin: str
    token: str = field(default="", repr=False)


def find_forgery(method: str, source: Source, expected_token: str) -> str:
    """Return why the request could be forged, for logs only; "" where it cannot.

    Args:
        method: Request method, or `HANDSHAKE`.
        source: Origin of the request.
        expected_token: The session's token; an empty one matches nothing.
    """
    if method in SAFE_METHODS:
        return ""
    if source.sec_fetch_site is not None:
        own = source.sec_fetch_site in _OWN
        return "" if own else f"a {method} from another site (Sec-Fetch-Site: {source.sec_fetch_site[:20]!r})"
    if source.origin is not None:
        same = _normal(source.origin) == _normal(source.own_origin)
        return "" if same else f"a {method} from another origin ({source.origin[:100]!r})"
    if is_same_token(source.token, expected_token):
        return ""
    return f"a {method} without Sec-Fetch-Site, Origin or the session's {TOKEN_HEADER}"


def is_same_token(found: str, expected: str) -> bool:
    """Return whether two tokens are equal and not empty, in constant time."""
    return bool(expected) and hmac.compare_digest(found.encode("utf-8", "replace"), expected.encode())


def _normal(origin: str) -> str:
    origin = origin.lower()
    for scheme, port in _DEFAULT_PORTS:
        if origin.startswith(scheme):
            return origin.removesuffix(port)
    return origin

"""Does a request that changes something come from our own pages? No I/O, no Flask.

A browser sends cookies along with what another site makes it send. It also says where a request comes from: in
`Sec-Fetch-Site` (W3C Fetch Metadata), or at least in `Origin` (RFC 6454 section 7). A client that says neither must
show that it knows the session's own token.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

TOKEN_HEADER = "X-CSRF-Token"  # noqa: S105  # the name, not a token
# RFC 9110 9.2.1, without TRACE.
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
# "none": the user's own doing, such as a bookmark. "same-site" is another host, perhaps another team's.
_OWN = frozenset(("same-origin", "none"))
_DEFAULT_PORTS = (("http://", ":80"), ("https://", ":443"))


@dataclass(frozen=True, slots=True)
class Source:
    """What a request says of where it comes from; None where it does not.

    Attributes:
        sec_fetch_site: `Sec-Fetch-Site`.
        origin: `Origin`.
        own_origin: Where we are: scheme, "://" and Host.
        token: The token that it brings, or "".
    """

    sec_fetch_site: str | None
    origin: str | None
    own_origin: str
    token: str = field(default="", repr=False)


def find_forgery(method: str, source: Source, expected_token: str) -> str:
    """Return why the request could be forged, for logs only; "" when it cannot.

    Args:
        method: Request method.
        source: What the request says.
        expected_token: The session's; an empty one matches nothing.
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
    """Return whether two tokens are the same and not empty, in a time that does not depend on where they differ."""
    return bool(expected) and hmac.compare_digest(found.encode("utf-8", "replace"), expected.encode())


def _normal(origin: str) -> str:
    origin = origin.lower()
    for scheme, port in _DEFAULT_PORTS:
        if origin.startswith(scheme):
            return origin.removesuffix(port)
    return origin

"""Navigation: whether a browser opens a page, and whether our own pages caused the request. No I/O, no Flask."""

from __future__ import annotations

from urllib.parse import urlsplit

_READING = frozenset(("GET", "HEAD"))
# "none": typed, or a bookmark. "same-site" is another host, perhaps another team's.
_OWN_SITES = frozenset(("same-origin", "none"))


def is_navigation(method: str, mode: str | None, accept: str | None) -> bool:
    """Return whether a browser requests a page to show, so that a redirect is useful.

    Args:
        method: Request method.
        mode: `Sec-Fetch-Mode` (W3C Fetch Metadata), which browsers omit on plain HTTP; None where it is missing.
        accept: `Accept`; programs and scripts of a page do not name `text/html`.
    """
    if method not in _READING:
        return False
    if mode is not None:
        return mode == "navigate"
    media_types = (part.partition(";")[0].strip().lower() for part in (accept or "").split(","))
    return "text/html" in media_types


def is_from_own_pages(site: str | None, origin: str | None, referrer: str | None, own_origin: str) -> bool:
    """Return whether no other site can have caused the request, whatever its method.

    A request without any of the three headers is accepted: it comes from a program, or from a typed address.

    Args:
        site: `Sec-Fetch-Site`.
        origin: `Origin`.
        referrer: `Referer`.
        own_origin: Our own origin: scheme, "://" and Host.
    """
    if site is not None:
        return site in _OWN_SITES
    if origin is not None:
        return origin.lower() == own_origin.lower()
    if not referrer:
        return True
    try:
        parts = urlsplit(referrer)
    except ValueError:
        return False
    return f"{parts.scheme}://{parts.netloc}".lower() == own_origin.lower()

"""Reads from a request at the gate which browser has sent it, and which page it wants."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, quote, urlsplit

from compat_auth.http.browser.navigation import is_from_own_pages, is_navigation
from compat_auth.http.browser.redirects import safe_next
from compat_auth.http.request import GateRequest
from compat_auth.tokens.jose.unverified_claims import read_claimed

# What RFC 3986 has in a URL. Browsers leave "[", "|" and others as they are in a query.
_LAWFUL = "%/?#:@!$&'()*+,;=~"


def shows_page(request: GateRequest) -> bool:
    """Return whether a browser asks for a page that it will show."""
    return is_navigation(request.method, _header(request, b"sec-fetch-mode"), _header(request, b"accept"))


def comes_from_own_pages(request: GateRequest) -> bool:
    """Return whether no other site can have made a browser send the request; see `compat_auth.http.browser.navigation`."""
    site, origin, referrer = (_header(request, name) for name in (b"sec-fetch-site", b"origin", b"referer"))
    return is_from_own_pages(site, origin, referrer, _origin(request))


def _origin(request: GateRequest) -> str:
    return f"{request.scheme}://{request.intake.host.decode('ascii')}"


def _header(request: GateRequest, name: bytes) -> str | None:
    values = [value.decode("latin-1") for header, value in request.intake.kept if header == name]
    return ", ".join(values) if values else None


def target_of(request: GateRequest) -> str:
    """Return the path and query that a browser has asked for, as RFC 3986 has them."""
    query = b"?" + request.query if request.query else b""
    return safe_next(quote(request.root + (request.path + query).decode("ascii"), safe=_LAWFUL), f"{request.root}/")


def asked_for(request: GateRequest) -> str:
    """Return where the upstream's `next` leads, as a path of this host."""
    try:
        wanted = parse_qs(request.query.decode("ascii"), errors="strict").get("next", [""])[0]
        parts = urlsplit(wanted)
    except ValueError:
        return f"{request.root}/"
    if parts.scheme or parts.netloc:
        # Airflow's pages name the whole address.
        if f"{parts.scheme}://{parts.netloc}".lower() != _origin(request).lower():
            return f"{request.root}/"
        wanted = parts._replace(scheme="", netloc="").geturl()
    return safe_next(quote(wanted, safe=_LAWFUL), f"{request.root}/")


def has_ended(token: str) -> bool:
    """Return whether a JWT says that it has expired; the upstream refuses one whose `exp` was changed."""
    claimed = read_claimed(token)
    return claimed is not None and claimed.expires is not None and claimed.expires <= time.time()

"""Detect cross-origin requests that a browser may have given a credential of its own.

A browser adds cookies, and also a remembered Basic password, a Negotiate ticket, an NTLM answer and a client
certificate; only a Bearer must come from a script. A request of another origin that changes something is accepted only
if the upstream's CORS settings let that origin send the header itself. No I/O, no Flask.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from compat_auth.http.browser.csrf import SAFE_METHODS, Source, find_forgery

# Fetch, "CORS-safelisted method" and "CORS-safelisted request-header": such a request needs no preflight.
_SIMPLE_METHODS = frozenset(("GET", "HEAD", "POST"))
_SIMPLE_TYPES = frozenset(("application/x-www-form-urlencoded", "multipart/form-data", "text/plain"))
# RFC 6454 7.1: one serialized origin. CORS settings cannot name "null".
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@,]+\Z", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Call:
    """The parts of a request that identify the page behind it; None where the header is missing.

    Attributes:
        method: Request method, upper case.
        site: `Sec-Fetch-Site`; several values joined by ", ".
        mode: `Sec-Fetch-Mode`.
        origin: `Origin`.
        content_type: `Content-Type`.
        own_origin: Our own origin: scheme, "://" and Host.
    """

    method: str
    site: str | None
    mode: str | None
    origin: str | None
    content_type: str | None
    own_origin: str


def is_added_by_browsers(authorization: str | None) -> bool:
    """Return whether a browser may have added the credential by itself: true for every scheme except Bearer.

    Args:
        authorization: The Authorization value; None for a cookie or a client certificate.
    """
    return authorization is None or authorization.partition(" ")[0].lower() != "bearer"


def find_foreign_origin(call: Call) -> str:
    """Return why another origin could be behind the request, for logs only; "" where none can be.

    A request with neither Sec-Fetch-Site nor Origin comes from a program, which no other site controls.
    """
    if call.method in SAFE_METHODS or (call.site is None and call.origin is None):
        return ""
    return find_forgery(call.method, Source(call.site, call.origin, call.own_origin), "")


def preflight_for(call: Call) -> list[tuple[bytes, bytes]] | None:
    """Return the headers of a preflight for the request; None where no answer to it could make the request acceptable.

    Only a script's request in mode "cors" can have a header from the script. Browsers omit Sec-Fetch-Mode on plain
    HTTP.
    """
    if call.mode not in (None, "cors") or call.origin is None or not _ORIGIN.match(call.origin):
        return None
    return [
        (b"origin", call.origin.encode("latin-1")),
        (b"access-control-request-method", call.method.encode("ascii")),
        (b"access-control-request-headers", b"authorization"),
    ]


def is_allowed_by(call: Call, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether this answer to the preflight lets the origin send an Authorization header (Fetch, CORS preflight).

    Args:
        call: The request.
        status: Status of the answer.
        headers: Headers of the answer, names in lower case.
    """
    said: dict[str, list[str]] = {}
    for name, value in headers:
        said.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1").strip())
    origins = said.get("access-control-allow-origin", [])
    if not 200 <= status < 300 or len(origins) != 1:
        return False
    # Fetch: the wildcard for headers does not include Authorization.
    if "authorization" not in _listed(said.get("access-control-allow-headers", [])):
        return False
    methods = _listed(said.get("access-control-allow-methods", []))
    if call.method not in _SIMPLE_METHODS and not {call.method.lower(), "*"} & methods:
        return False
    if origins[0] == call.origin:
        return True
    # "*" allows no credential that the browser adds. Only a request that needs a preflight shows that it has none.
    return origins[0] == "*" and _needs_preflight(call)


def _needs_preflight(call: Call) -> bool:
    content_type = (call.content_type or "text/plain").partition(";")[0].strip().lower()
    return call.method not in _SIMPLE_METHODS or content_type not in _SIMPLE_TYPES


def _listed(values: list[str]) -> set[str]:
    return {word.strip().lower() for value in values for word in value.split(",")}

"""Reads the original request from the headers of a front proxy's dialect.

There is one endpoint for each dialect, because each proxy describes the original request in different headers, and
an endpoint that reads any of them believes forged ones (CVE-2026-40575).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from compat_auth.errors import BadRequest, NotImplementedHere
from compat_auth.gateway.middleware import REFUSED_METHODS
from compat_auth.http.headers import is_host, may_have_body
from compat_auth.http.paths import Rests, canonical_query, read_path
from compat_auth.http.request import GateRequest
from compat_auth.http.root_path import RootPath
from compat_auth.scopes import METHOD_OVERRIDES

# A body that comes with one of these has no meaning (RFC 9110 9.3.1, 9.3.2, 9.3.7).
_BODILESS = frozenset(("GET", "HEAD", "OPTIONS"))


@dataclass(frozen=True, slots=True)
class Dialect:
    """The headers in which a front proxy describes the original request.

    Attributes:
        uri: Header with the original request target, path and query.
        method: Header with the original method.
        host: Header with the original Host; if it is missing or the dialect has none, `Host` is the original.
        moved: The part of a redirect that the proxy sends to the client: its path; the whole URL, since the proxy
            resolves it against our own; nothing, since it replaces every answer except 2xx, 401 and 403 with 500.
    """

    uri: bytes
    method: bytes
    host: bytes = b""
    moved: Literal["path", "url", "nothing"] = "nothing"


DIALECTS: Mapping[str, Dialect] = {
    "nginx": Dialect(b"x-original-uri", b"x-original-method"),
    "traefik": Dialect(b"x-forwarded-uri", b"x-forwarded-method", b"x-forwarded-host", "url"),
    "caddy": Dialect(b"x-forwarded-uri", b"x-forwarded-method", b"x-forwarded-host", "path"),
}


def overridden(original: GateRequest) -> Iterator[GateRequest]:
    """Yield the request as an upstream that obeys a method override reads it: the front proxy forwards the override."""
    for name in METHOD_OVERRIDES:
        for value in original.intake.forward.get(name, ()):
            yield replace(original, method=value.decode("latin-1").strip().upper())


def host_of(dialect: Dialect, request: GateRequest) -> bytes:
    """Return the Host of the original request.

    Raises:
        BadRequest: The front proxy does not say exactly one.
    """
    hosts = request.intake.forward.get(dialect.host) or [request.intake.host]
    if len(hosts) != 1 or not is_host(hosts[0]):
        raise BadRequest(f"forward-auth: the proxy must send one {(dialect.host or b'Host').decode()}, which is a host")
    return hosts[0]


def origin_of(dialect: Dialect, request: GateRequest) -> bytes:
    """Return the origin (RFC 6454) of the original request.

    Raises:
        BadRequest: See `host_of`.
    """
    return request.scheme.encode("ascii") + b"://" + host_of(dialect, request)


def original_of(dialect: Dialect, request: GateRequest, rests: Rests | None, root: RootPath) -> GateRequest:
    """Return the original request, as the front proxy describes it.

    Raises:
        BadRequest: The front proxy does not say exactly one method and one request target.
        NotImplementedHere: The method is one that the gate refuses, too.
    """
    forward = request.intake.forward
    targets, methods = forward.get(dialect.uri, []), forward.get(dialect.method, [])
    if len(targets) != 1 or len(methods) != 1 or not methods[0].isalpha():
        needed = f"{dialect.uri.decode()} and {dialect.method.decode()}"
        raise BadRequest(f"forward-auth: the proxy must send exactly one {needed}")
    host = host_of(dialect, request)
    path, _, query = targets[0].partition(b"?")
    method = methods[0].decode("ascii").upper()
    if method in REFUSED_METHODS:
        raise NotImplementedHere(f"method {method}: not implemented")
    original = GateRequest(
        request.scope,
        replace(request.intake, host=host),
        method,
        root.strip(read_path(path, rests)),
        canonical_query(query) if query else b"",
        request.client,
        request.scheme,
    )
    # A backend that reads a header there has to know that the front proxy may have copied it from the client.
    original.peer = replace(request.peer, in_forward_auth=True)
    # The front proxy keeps the body, and takes away the headers that would tell of it. Nor are identity headers taken
    # over: proxies copy the caller's own into this request.
    readings = (original.method, *(reading.method for reading in overridden(original)))
    if not _BODILESS.issuperset(readings) or may_have_body({}, request.intake.kept):
        original.body = None
    return original

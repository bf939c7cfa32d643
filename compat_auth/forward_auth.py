"""Forward-auth: a front proxy asks for the decision and keeps the traffic.

One endpoint for each dialect, because what each proxy says about the original request stands in other headers, and
"whichever is there" is how forged ones are believed (CVE-2026-40575). Only a trusted proxy gets an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from compat_auth.asgi import RawHeaders, Receive, Send, respond
from compat_auth.decision import Granted, Unclaimed
from compat_auth.errors import BadRequest, NotImplementedHere, NotPermitted
from compat_auth.gate import REFUSED_METHODS, Gate, Page, authorization_without_ours
from compat_auth.headers import may_have_body, without_cookies
from compat_auth.paths import canonical_path, canonical_query
from compat_auth.request import GateRequest
from compat_auth.scopes import METHOD_OVERRIDES

# A body that comes with one of these has no meaning (RFC 9110 9.3.1, 9.3.2, 9.3.7).
_BODILESS = frozenset(("GET", "HEAD", "OPTIONS"))
COOKIE_HEADER = b"x-compat-auth-cookie"
"""The Cookie header that the front proxy should send on: without ours and, once somebody is known, the upstream's."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where a front proxy says what the original request was.

    Attributes:
        uri: Header with the original request target, path and query.
        method: Header with the original method.
    """

    uri: bytes
    method: bytes


DIALECTS: Mapping[str, Dialect] = {
    "nginx": Dialect(b"x-original-uri", b"x-original-method"),
    "traefik": Dialect(b"x-forwarded-uri", b"x-forwarded-method"),
    "caddy": Dialect(b"x-forwarded-uri", b"x-forwarded-method"),
}


def forward_auth_pages() -> dict[str, Page]:
    """Return one page for each dialect, by path below the prefix."""
    return {f"forward-auth/{name}": _page(dialect) for name, dialect in DIALECTS.items()}


def _page(dialect: Dialect) -> Page:
    async def answer(gate: Gate, request: GateRequest, _receive: Receive, send: Send) -> None:
        if not gate.trusted.covers(gate.trusted.peer(request.scope)):
            raise NotPermitted("forward-auth: this address is not in trusted_proxies")
        original = _original(dialect, request)
        authorization, cookies = original.intake.authorization, original.intake.cookies
        extra: tuple[tuple[bytes, bytes], ...] = ()
        if not gate.rules.guards(original.path):
            dropped = await gate.dropped_from(original)
            authorization = authorization_without_ours(original)
        else:
            decision = await gate.decide(original)
            gate.require_permission(decision, original, *_overridden(original))
            dropped = gate.rules.own_cookies
            if isinstance(decision, Granted):
                authorization = gate.rules.bearer_for(original.path, decision)
                extra, dropped = decision.headers, gate.dropped_cookies
            elif not (isinstance(decision, Unclaimed) and gate.is_for_upstream(decision, original)):
                await gate.refuse(send, decision, request)
                return
        headers: RawHeaders = [(b"cache-control", b"no-store"), *extra]
        if authorization is not None:
            headers.append((b"authorization", authorization))
        if cookies:
            headers.append((COOKIE_HEADER, b"; ".join(without_cookies(cookies, dropped))))
        await respond(send, 200, headers=headers)

    return answer


def _overridden(original: GateRequest) -> Iterator[GateRequest]:
    """Yield the request as an upstream reads it that obeys a method override: the front proxy sends that on."""
    for name in METHOD_OVERRIDES:
        for value in original.intake.forward.get(name, ()):
            yield replace(original, method=value.decode("latin-1").strip().upper())


def _original(dialect: Dialect, request: GateRequest) -> GateRequest:
    """Return the original request, as the front proxy tells it.

    Raises:
        BadRequest: The front proxy does not say exactly one method and one request target.
        NotImplementedHere: The method is one that the gate refuses, too.
    """
    forward = request.intake.forward
    targets, methods = forward.get(dialect.uri, []), forward.get(dialect.method, [])
    if len(targets) != 1 or len(methods) != 1 or not methods[0].isalpha() or not methods[0].isascii():
        needed = f"{dialect.uri.decode()} and {dialect.method.decode()}"
        raise BadRequest(f"forward-auth: the proxy must send exactly one {needed}")
    path, _, query = targets[0].partition(b"?")
    method = methods[0].decode("ascii").upper()
    if method in REFUSED_METHODS:
        raise NotImplementedHere(f"method {method}: not spoken here")
    original = GateRequest(
        request.scope,
        request.intake,
        method,
        canonical_path(path),
        canonical_query(query) if query else b"",
        request.client,
        request.scheme,
    )
    # The front proxy keeps the body, and takes away the headers that would tell of it. Nor are identity headers taken
    # over: proxies copy the caller's own into this request.
    readings = (original.method, *(reading.method for reading in _overridden(original)))
    if not _BODILESS.issuperset(readings) or may_have_body({}, request.intake.kept):
        original.body = None
    return original

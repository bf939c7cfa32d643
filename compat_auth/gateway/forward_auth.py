"""Forward-auth: a front proxy asks for the decision and keeps the traffic.

One endpoint for each dialect, because what each proxy says about the original request stands in other headers, and
"whichever is there" is how forged ones are believed (CVE-2026-40575).

A client can reach every listener that a trusted proxy serves, with headers of its own. So the address of the peer is
not enough: the endpoint answers on a listener of its own, or to a request with a secret that only the proxy knows.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from compat_auth.config import Settings
from compat_auth.errors import BadRequest, ConfigError, InvalidPath, NoSuchPage, NotImplementedHere, NotPermitted
from compat_auth.gateway.decision import Granted, Unclaimed
from compat_auth.gateway.middleware import REFUSED_METHODS, Gate, Page, authorization_without_ours, respond_moved
from compat_auth.http.asgi import RawHeaders, Receive, Send, respond
from compat_auth.http.headers import is_host, may_have_body, without_cookies
from compat_auth.http.paths import MergedPath, Rests, canonical_query, read_path
from compat_auth.http.request import GateRequest
from compat_auth.http.root_path import RootPath
from compat_auth.scopes import METHOD_OVERRIDES

# A body that comes with one of these has no meaning (RFC 9110 9.3.1, 9.3.2, 9.3.7).
_BODILESS = frozenset(("GET", "HEAD", "OPTIONS"))
logger = logging.getLogger("compat_auth.forward_auth")

SECRET_HEADER = b"x-compat-auth-proxy-secret"
"""What only the front proxy sends. The intake drops it with all of `X-Compat-Auth-*`, so nothing passes it on."""
MIN_SECRET = 32
"""Of the secret, in characters."""
_HINT_PAUSE_S = 60.0
_HINTED: dict[str, float] = {}
COOKIE_HEADER = b"x-compat-auth-cookie"
"""The Cookie header that the front proxy should send on: without ours and, once somebody is known, the upstream's."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where a front proxy says what the original request was.

    Attributes:
        uri: Header with the original request target, path and query.
        method: Header with the original method.
        host: Header with the original Host; where it is missing, and where the dialect has none, `Host` is the original.
        moved: What of a redirect the proxy sends to the client: its path; the whole URL, since the proxy resolves it
            against our own; nothing, since it makes any answer but 2xx, 401 and 403 its own 500.
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


FORWARD_AUTH_PAGES = tuple(f"forward-auth/{name}" for name in DIALECTS)
"""Where they are, below the prefix."""
HandOut = Callable[[Gate, GateRequest, Granted], Awaitable[bytes]]
"""Return the Authorization value that the front proxy gets for an accepted original request."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask.

    Attributes:
        secret: What the front proxy sends in SECRET_HEADER; b"": the listener serves front proxies alone.
    """

    secret: bytes = field(default=b"", repr=False)

    def require(self, gate: Gate, request: GateRequest) -> None:
        """Return when the request is a front proxy's own.

        Raises:
            NotPermitted: It may be a client's that came through a proxy; the log says why.
        """
        reason = self._find_fault(gate, request)
        if reason:
            _hint(f"forward-auth: refused: {reason}")
            raise NotPermitted("forward-auth: only for the front proxy; the log says what to do")

    def _find_fault(self, gate: Gate, request: GateRequest) -> str:
        if not gate.trusted.covers(gate.trusted.peer(request.scope)):
            return "the asking address is not in trusted_proxies; name the front proxy there"
        if self.secret:
            found = [value for name, value in request.scope["headers"] if name == SECRET_HEADER]
            # Two values: a client has sent one of them.
            if len(found) != 1 or not hmac.compare_digest(found[0], self.secret):
                return "X-Compat-Auth-Proxy-Secret is not [forward_auth] secret; let the front proxy set it"
        if gate.trusted.names_hop_beyond_client(request.intake.forward):
            return (
                "X-Forwarded-For names a hop beyond the proxy; let the front proxy set it to the client's address alone, "
                "or name the proxies in between in trusted_proxies"
            )
        return ""


def forward_auth_pages(access: Access, hand_out: HandOut) -> dict[str, Page]:
    """Return one page for each dialect, by path below the prefix.

    Args:
        access: Who may ask.
        hand_out: Makes what an accepted request goes on with.
    """
    return {f"forward-auth/{name}": _page(dialect, access, hand_out) for name, dialect in DIALECTS.items()}


async def not_here(_gate: Gate, request: GateRequest, _receive: Receive, _send: Send) -> None:
    """Answer 404 where forward-auth is off, and say in the log how to turn it on.

    Raises:
        NoSuchPage: Always.
    """
    _hint(
        "forward-auth: asked for, but off on this listener; set [forward_auth] bind and let the front proxy ask there, "
        "or set [forward_auth] secret"
    )
    raise NoSuchPage(f"{request.path.decode('ascii')}: no such page")


async def nothing_else(_gate: Gate, request: GateRequest, _receive: Receive, _send: Send) -> None:
    """Answer 404 to everything on the listener of forward-auth that is not its own.

    Raises:
        NoSuchPage: Always.
    """
    raise NoSuchPage(f"{request.path.decode('ascii')}: no such page on the listener of forward-auth")


def access_of(settings: Settings) -> Access | None:
    """Return who may ask; None where forward-auth is off.

    Raises:
        ConfigError: The settings would let clients ask, or nobody.
    """
    section, secret = settings.forward_auth, settings.forward_auth.secret.get_secret_value()
    if not section.bind and not secret:
        return None
    if secret and (len(secret) < MIN_SECRET or not secret.isascii() or not secret.isprintable() or " " in secret):
        raise ConfigError(
            f"forward_auth.secret: at least {MIN_SECRET} printable ASCII characters without blanks; "
            "make one with: openssl rand -hex 32"
        )
    if not settings.trusted_proxies:
        raise ConfigError(
            "forward_auth: on, but trusted_proxies is empty, so nobody would get an answer; "
            'name the front proxy, such as trusted_proxies = ["127.0.0.1/32"]'
        )
    host, _, port = section.bind.rpartition(":")
    if section.bind and not secret and not _is_loopback(host):
        raise ConfigError(
            f"forward_auth.bind: {section.bind}: others than this machine reach it; "
            "set forward_auth.secret, too, or bind to 127.0.0.1"
        )
    if section.bind and int(port) and port == settings.serve.bind.rpartition(":")[2]:
        raise ConfigError(f"forward_auth.bind: {section.bind}: the port of serve.bind; choose another")
    return Access(secret.encode("ascii"))


def port_of(settings: Settings) -> int | None:
    """Return the port of the listener that serves front proxies alone; None where there is none."""
    bind = settings.forward_auth.bind
    return int(bind.rpartition(":")[2]) if bind else None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _hint(text: str) -> None:
    """Log a line that an operator needs; the same one once a minute, since anybody can cause it."""
    now = time.monotonic()
    if now >= _HINTED.get(text, 0.0):
        _HINTED[text] = now + _HINT_PAUSE_S
        logger.warning("%s", text)


def _page(dialect: Dialect, access: Access, hand_out: HandOut) -> Page:
    async def answer(gate: Gate, request: GateRequest, _receive: Receive, send: Send) -> None:
        access.require(gate, request)
        try:
            original = request.original = _original(dialect, request, gate.rules.rests, gate.root)
        except MergedPath as merged:
            await _send_elsewhere(dialect, request, merged, send)
            return
        headers = await _headers_of(gate, request, original, hand_out, send)
        if headers is not None:
            await respond(send, 200, headers=[(b"cache-control", b"no-store"), *headers])

    return answer


async def _headers_of(
    gate: Gate, request: GateRequest, original: GateRequest, hand_out: HandOut, send: Send
) -> RawHeaders | None:
    """Return what the front proxy sends on instead of the caller's credentials; None where the request was refused."""
    authorization, cookies = original.intake.authorization, original.intake.cookies
    extra: tuple[tuple[bytes, bytes], ...] = ()
    if gate.browsers is not None:
        extra = tuple(await gate.browsers.log_out(gate, original))
    if _is_for_nobody(gate, original):
        authorization, cookies = None, [b""] if cookies else []
        dropped = gate.dropped_cookies
    elif not gate.rules.guards(original.path):
        dropped = await gate.dropped_from(original)
        authorization = authorization_without_ours(original)
    else:
        decision = await gate.decide(original)
        gate.require_permission(decision, original, *_overridden(original))
        dropped = gate.rules.own_cookies
        if isinstance(decision, Granted):
            authorization = None
            if gate.rules.bearer_for(original.path, decision) is not None:
                authorization = await hand_out(gate, original, decision)
            extra, dropped = decision.headers, gate.dropped_cookies
        elif not (isinstance(decision, Unclaimed) and gate.is_for_upstream(decision, original)):
            await gate.refuse(send, decision, request)
            return None
    headers: RawHeaders = [*extra]
    if authorization is not None:
        headers.append((b"authorization", authorization))
    if cookies:
        headers.append((COOKIE_HEADER, b"; ".join(without_cookies(cookies, dropped))))
    return headers


def _is_for_nobody(gate: Gate, original: GateRequest) -> bool:
    """Return whether the front proxy may send the request on without any credential; see `GateRules.is_for_nobody`."""
    return gate.rules.is_for_nobody(original) and next(_overridden(original), None) is None


async def _send_elsewhere(dialect: Dialect, request: GateRequest, merged: MergedPath, send: Send) -> None:
    """Have the client ask for the merged path: the front proxy would send the path on as it came.

    Raises:
        InvalidPath: The front proxy sends no redirect on.
    """
    if dialect.moved == "nothing":
        raise InvalidPath(str(merged))
    query = request.intake.forward[dialect.uri][0].partition(b"?")[2]
    origin = b"" if dialect.moved == "path" else _origin(dialect, request)
    await respond_moved(send, origin + merged.path, query)


def _overridden(original: GateRequest) -> Iterator[GateRequest]:
    """Yield the request as an upstream reads it that obeys a method override: the front proxy sends that on."""
    for name in METHOD_OVERRIDES:
        for value in original.intake.forward.get(name, ()):
            yield replace(original, method=value.decode("latin-1").strip().upper())


def _host(dialect: Dialect, request: GateRequest) -> bytes:
    hosts = request.intake.forward.get(dialect.host) or [request.intake.host]
    if len(hosts) != 1 or not is_host(hosts[0]):
        raise BadRequest(f"forward-auth: the proxy must send one {(dialect.host or b'Host').decode()}, which is a host")
    return hosts[0]


def _origin(dialect: Dialect, request: GateRequest) -> bytes:
    return request.scheme.encode("ascii") + b"://" + _host(dialect, request)


def _original(dialect: Dialect, request: GateRequest, rests: Rests | None, root: RootPath) -> GateRequest:
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
    host = _host(dialect, request)
    path, _, query = targets[0].partition(b"?")
    method = methods[0].decode("ascii").upper()
    if method in REFUSED_METHODS:
        raise NotImplementedHere(f"method {method}: not spoken here")
    original = GateRequest(
        request.scope,
        replace(request.intake, host=host),
        method,
        root.strip(read_path(path, rests)),
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

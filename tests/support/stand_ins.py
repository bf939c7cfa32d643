"""What several tests of the core need: a backend that answers as told, and a client that speaks ASGI."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from flask import Flask
from werkzeug.test import create_environ

from compat_auth.airflow.middleware import (
    AirflowAuthorization,
    AirflowForwarding,
    AirflowMiddleware,
    Guarded,
    behind_root,
)
from compat_auth.authn.chain import Chain, Mode
from compat_auth.backend import Backend, CredentialKind
from compat_auth.composition.gate import GateParts, Place, forward_auth_of
from compat_auth.config import UpstreamSettings
from compat_auth.credentials import Absent, Basic, Credential
from compat_auth.gateway.authorization import Authorization, GateRules
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Granted
from compat_auth.gateway.forward_auth.access import Access
from compat_auth.gateway.middleware import Gate, Page
from compat_auth.http.asgi import ASGIApp, Message, RawHeaders, Scope
from compat_auth.http.error_responses import ErrorStyle
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.paths import Prefixes
from compat_auth.http.request import GateRequest, Presented, Shown
from compat_auth.http.root_path import RootPath
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Outcome
from compat_auth.tokens.bound import BoundTokens
from compat_auth.tokens.revoked import RevokedTokens

ALICE = Identity("alice", "first")
BASIC_ONLY: frozenset[CredentialKind] = frozenset({Basic})
Obtain = Callable[[Identity, Credential, Token | None, bool], Token]
Says = Outcome | Exception | Callable[[Credential], Outcome]


def basic(username: str, password: str) -> str:
    """Return the Authorization value for a pair."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


FRONT_PORT = 9188
FRONT = {"bind": f"127.0.0.1:{FRONT_PORT}"}
"""`[forward_auth]` of a gateway that front proxies ask."""
GOOD = basic("alice", "pässwörd")


class ScriptedBackend(Backend):
    """Answers what the test says and remembers what it was asked."""

    def __init__(self, name: str, says: Says, invites: tuple[str, ...]) -> None:
        self.name = self.configured_as = name
        self.says = says
        self.invites = invites
        self.asked: list[Credential] = []

    def authenticate(self, credential: Credential) -> Outcome:
        self.asked.append(credential)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says(credential) if callable(self.says) else self.says

    def challenges(self) -> tuple[str, ...]:
        return self.invites


def scripted(
    name: str,
    says: Says,
    *,
    takes: frozenset[CredentialKind] = BASIC_ONLY,
    invites: tuple[str, ...] = (),
    alike: bool = True,
) -> ScriptedBackend:
    """Return a backend that answers as told about the kinds that it takes."""
    kind = type(
        "Scripted",
        (ScriptedBackend,),
        {"kinds": takes, "depends_on_credential_only": alike, "needs_cookies": takes == frozenset((Absent,))},
    )
    return cast("ScriptedBackend", kind(name, says, invites))


def accepting(name: str = "first", *, reusable_s: float = 60, takes: frozenset[CredentialKind] = BASIC_ONLY) -> Any:
    """Return a backend that accepts whoever it is asked about as alice."""
    return scripted(name, Accept(Identity("alice", name), reusable_s=reusable_s), takes=takes)


def token_for(identity: Identity, number: int = 0) -> Token:
    """Return a token that tells in clear whom it is for."""
    name = identity.username.encode().hex() if not identity.username.isascii() else identity.username
    return Token(f"token-of-{name}-{number}", int(time.time()) + 600)


def give_token(identity: Identity, _credential: Credential, _yielded: Token | None, _fresh: bool) -> Token:
    """Give the same token for the same user."""
    return token_for(identity)


class Clock:
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class Issuing:
    """Makes tokens as a function tells it."""

    def __init__(self, obtain: Obtain) -> None:
        self._obtain = obtain

    def obtain(
        self, identity: Identity, credential: Credential, yielded: Token | None = None, *, fresh: bool = False
    ) -> Token:
        return self._obtain(identity, credential, yielded, fresh)


def make_decider(
    *backends: Backend, mode: Mode = "strict", obtain: Obtain = give_token, app: Flask | None = None, **options: Any
) -> Decider:
    """Return a decider over these backends."""
    return Decider(Chain(backends, mode), app or Flask("test"), Issuing(obtain), **options)


def presented(
    authorization: str | None = GOOD, *, cookie: str = "", path: str = "/api/x", client: str = "192.0.2.1"
) -> Presented:
    """Return what a request presents."""

    def environ(with_cookies: bool) -> dict[str, Any]:
        headers = {"Authorization": authorization} if authorization else {}
        if cookie and with_cookies:
            headers["Cookie"] = cookie
        return create_environ(path, headers=headers)

    return Presented(Shown(authorization), bool(cookie), "GET", path, client, environ)


def rules(
    *,
    style: ErrorStyle | None = None,
    own_cookies: frozenset[bytes] = frozenset({b"ours"}),
    identity_cookies: tuple[bytes, ...] = (b"_token", b"session"),
) -> GateRules:
    """Return the rules of a gate in front of an Airflow."""
    return GateRules(Prefixes(["/api/"]), b"/compat-auth/", identity_cookies, own_cookies, style or ErrorStyle())


async def bearer_for(_request: GateRequest, granted: Granted) -> bytes:
    """Give a front proxy the token that goes upstream."""
    return granted.bearer


Pages = Callable[[GateParts], dict[str, Page]]


def forward_auth(parts: GateParts) -> dict[str, Page]:
    """Return the pages that a front proxy asks."""
    return forward_auth_of(parts, Access(), bearer_for).pages()


def no_pages(_parts: GateParts) -> dict[str, Page]:
    """Return no pages."""
    return {}


def make_parts(
    app: ASGIApp,
    decider: Decider,
    *,
    gate_rules: GateRules | None = None,
    trusted: Sequence[str] = (),
    upstream: ASGIApp | None = None,
    root: str = "",
    tells_origins: bool = False,
) -> GateParts:
    """Return what a gate before the app is made of."""
    place = Place(
        app,
        Authorization(gate_rules or rules()),
        TrustedProxies(trusted),
        upstream=upstream,
        root=RootPath(root),
        tells_origins=tells_origins,
    )
    return GateParts.build(place, decider, RevokedTokens(None, b""))


def make_gate(app: ASGIApp, decider: Decider, *, pages: Pages = forward_auth, **place: Any) -> Gate:
    """Return a gate before the app; see `make_parts`."""
    parts = make_parts(app, decider, **place)
    return parts.gate(pages(parts))


def make_airflow(
    app: ASGIApp,
    decider: Decider,
    gate_rules: GateRules,
    guarded: Sequence[str],
    pages: Pages = no_pages,
    trusted: Sequence[str] = (),
    bound: BoundTokens | None = None,
) -> AirflowMiddleware:
    """Return the plugin's middleware before an application."""
    authorization = AirflowAuthorization(gate_rules)
    revoked = RevokedTokens(None, b"" if bound is None else gate_rules.upstream_cookie, bound)
    place = Place(
        behind_root(app),
        authorization,
        TrustedProxies(trusted),
        forwarding=lambda here, decider, refusals: AirflowForwarding(here.app, authorization, decider, refusals),
    )
    parts = GateParts.build(place, decider, revoked)
    gate = parts.gate(pages(parts))
    return AirflowMiddleware(app, gate, Guarded(guarded, gate.paths), parts.refusals, revoked, [decider], parts.stages)


def http_scope(
    path: bytes = b"/api/x",
    headers: RawHeaders | None = None,
    *,
    method: str = "GET",
    query: bytes = b"",
    client: str = "192.0.2.1",
    host: bytes = b"gateway.example",
    port: int | None = None,
) -> Scope:
    """Return the scope that uvicorn makes for a request; one of a front proxy comes to the listener for those."""
    if port is None:
        port = FRONT_PORT if b"/forward-auth/" in path else 8088
    return {
        "type": "http",
        "method": method,
        "raw_path": path,
        "path": path.decode("latin-1"),
        "query_string": query,
        "headers": [(b"host", host), *(headers or [])],
        "client": (client, 50000),
        "server": ("127.0.0.1", port),
        "scheme": "http",
    }


@dataclass
class Sent:
    """What an ASGI application has sent."""

    messages: list[Message] = field(default_factory=list[Message])

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    def values(self, name: bytes) -> list[bytes]:
        return [value for found, value in self.headers if found == name]


async def call(app: ASGIApp, scope: Scope, body: bytes = b"") -> Sent:
    """Send one request to an ASGI application; the client stays until it is answered."""
    sent = Sent()
    incoming: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if incoming:
            return incoming.pop()
        stays: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await stays

    async def send(message: Message) -> None:
        sent.messages.append(message)

    await app(scope, receive, send)
    return sent


class Behind:
    """Stands behind a gate and remembers the scopes that reach it."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        del receive
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of the only request."""
        (scope,) = self.scopes
        return list(scope["headers"])

    def values(self, name: bytes) -> list[bytes]:
        return [value for found, value in self.headers if found == name]


def upstream_settings(url: str, **changed: Any) -> UpstreamSettings:
    """Return the settings of an upstream at that address."""
    return UpstreamSettings.model_validate({"url": url, **changed})

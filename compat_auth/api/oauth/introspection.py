"""What OAuth clients ask beside a token: is it good (RFC 7662), take it back (RFC 7009), and where is all that (RFC 8414).

Who asks about a token learns only of his own, unless `[token_endpoint] introspect_any_of` says otherwise: to everybody else
a token of another's is what a guessed one is. Whoever has a token may take it back; nothing is told about what it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from compat_auth import audit
from compat_auth.api.oauth.revocation import refuse_credential
from compat_auth.api.oauth.token_request import EXCHANGE_GRANT, MAX_BODY_BYTES, parse_form
from compat_auth.authn.revocation_events import revocation_events_of
from compat_auth.config import Settings
from compat_auth.credentials import MAX_TOKEN68_BYTES, Bearer, is_token68
from compat_auth.errors import BadRequest, CompatAuthError, TokenRequestRefused, TooManyRequests
from compat_auth.gateway.decision import Decision, Granted
from compat_auth.gateway.middleware import Gate, Page
from compat_auth.http.asgi import RawHeaders, Receive, Send, read_body, respond
from compat_auth.http.request import GateRequest
from compat_auth.identity import Identity
from compat_auth.requirements import Requirements
from compat_auth.scopes import ALL, scope_token
from compat_auth.tokens.issued import IssuedTokens, KnownToken
from compat_auth.web.throttling import TokenAttempts

SERVER_METADATA = "/.well-known/oauth-authorization-server"
RESOURCE_METADATA = "/.well-known/oauth-protected-resource"
_JSON = b"application/json"
_NO_STORE: RawHeaders = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
_INACTIVE: Mapping[str, Any] = {"active": False}
_CLAIMS = ("exp", "iat", "nbf", "sub", "aud", "iss", "jti")


@dataclass(frozen=True, slots=True)
class OAuthPages:
    """The pages.

    Attributes:
        given: The upstream's JWTs.
        attempts: Counts what is shown and not known.
        seers: Who may ask about everybody's tokens; None: nobody.
        base_url: Where callers find us, without a slash at the end; "" is what they called us by.
        prefix: Of our own pages, with both slashes.
        publishes_keys: Whether there are keys of ours to verify tokens with.
    """

    given: IssuedTokens
    attempts: TokenAttempts
    seers: Requirements | None
    base_url: str
    prefix: str
    publishes_keys: bool

    @classmethod
    def from_settings(cls, settings: Settings, given: IssuedTokens) -> OAuthPages:
        """Return the pages as the configuration wants them.

        Raises:
            ConfigError: A requirement is unknown.
        """
        section = settings.token_endpoint
        return cls(
            given,
            TokenAttempts(section.failures_per_minute, section.tokens_per_minute, settings.serve.workers),
            Requirements(any_of=tuple(section.introspect_any_of)) if section.introspect_any_of else None,
            section.public_url.rstrip("/"),
            settings.prefix,
            settings.token.strategy == "key_pair",
        )

    def metadata_url(self, request: GateRequest) -> str:
        """Return where `resource_metadata` answers; "" for a front proxy that only asks: its callers are not ours."""
        if not self.base_url and request.path.startswith(f"{self.prefix}forward-auth/".encode("ascii")):
            return ""
        if not self.base_url and not request.intake.host:
            return ""
        return f"{self._base(request)}{RESOURCE_METADATA}"

    def pages(self) -> dict[str, Page]:
        """Return the pages by path, below the prefix or from the root."""
        return {
            "introspect": self.introspect,
            "revoke": self.revoke,
            SERVER_METADATA: self.server_metadata,
            RESOURCE_METADATA: self.resource_metadata,
        }

    async def introspect(self, gate: Gate, request: GateRequest, receive: Receive, send: Send) -> None:
        """Answer whether a token is good and what it says (RFC 7662), to an authenticated caller."""
        if not await _is_post(request, send):
            return
        caller = await self._decide(gate, request)
        if not isinstance(caller, Granted):
            await gate.refuse(send, caller, request)
            return
        gate.require_permission(caller, request)
        try:
            token = await _token_in(request, receive)
        except TokenRequestRefused as error:
            await _send_json(send, 400, {"error": error.code, "error_description": str(error)})
            return
        found = await self._describe(gate, request, token, caller.identity)
        await _send_json(send, 200, found, caller.headers)

    async def revoke(self, gate: Gate, request: GateRequest, receive: Receive, send: Send) -> None:
        """Take a token back (RFC 7009); the answer is the same whether there was one."""
        if not await _is_post(request, send):
            return
        try:
            token = await _token_in(request, receive)
        except TokenRequestRefused as error:
            await _send_json(send, 400, {"error": error.code, "error_description": str(error)})
            return
        async with self.attempts.one(request.client) as tried:
            is_known = await gate.decider.lanes.run(request.client, lambda: self.given.deny(token), lane="aside")
            # Last, and apart: a slow upstream must not hold what is denied here.
            await gate.decider.lanes.run(request.client, lambda: self.given.tell(token), lane="outward")
            tried.failed = not is_known and not await self._revoke_credential(gate, request, token)
        await respond(send, 200, headers=_NO_STORE)

    async def server_metadata(self, _gate: Gate, request: GateRequest, _receive: Receive, send: Send) -> None:
        """Describe the authorization server that we are (RFC 8414)."""
        base = self._base(request)
        content: dict[str, Any] = {
            "issuer": base,
            "token_endpoint": f"{base}/auth/token",
            "token_endpoint_auth_methods_supported": ["none"],
            "grant_types_supported": [EXCHANGE_GRANT],
            "response_types_supported": [],
            "scopes_supported": [ALL],
            "revocation_endpoint": f"{base}{self.prefix}revoke",
            "revocation_endpoint_auth_methods_supported": ["none"],
            "introspection_endpoint": f"{base}{self.prefix}introspect",
            # RFC 8414 2: the name of a kind of access token is a method, too.
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "Bearer"],
        }
        if self.publishes_keys:
            content["jwks_uri"] = f"{base}/.well-known/jwks.json"
        await _send_json(send, 200, content)

    async def resource_metadata(self, _gate: Gate, request: GateRequest, _receive: Receive, send: Send) -> None:
        """Describe the API behind us to clients that look for who gives tokens for it (RFC 9728)."""
        base = self._base(request)
        content = {
            "resource": base,
            "authorization_servers": [base],
            "bearer_methods_supported": ["header"],
            "scopes_supported": [ALL],
        }
        await _send_json(send, 200, content)

    async def _decide(self, gate: Gate, request: GateRequest) -> Decision:
        # As at the token's door: without a header the session is asked, even beside a cookie of the upstream's own.
        authorization = request.intake.authorization
        if authorization is not None and gate.recall(request) is not None:
            return await gate.decide(request)
        async with self.attempts.one(request.client) as tried:
            try:
                decision = await (
                    gate.decide(request) if authorization is not None else gate.decider.decide(request.presented())
                )
            except CompatAuthError as error:
                # Who has to wait was not looked at.
                tried.failed = error.status < 500 and not isinstance(error, TooManyRequests)
                raise
            tried.failed = not isinstance(decision, Granted)
            return decision

    async def _describe(self, gate: Gate, request: GateRequest, token: str, caller: Identity) -> Mapping[str, Any]:
        def find() -> tuple[KnownToken | None, bool]:
            known = self.given.find(token)
            return known, known is not None and (self._sees_all(caller) or self.given.is_of(known, caller))

        known, is_seen = await gate.decider.lanes.run(request.client, find)
        if known is not None:
            if not is_seen:
                return _INACTIVE
            said = {name: known.claims[name] for name in _CLAIMS if name in known.claims}
            username = {"username": known.username} if known.username else {}
            return {"active": True, "token_type": "Bearer", "scope": ALL, **username, **said}
        shown = _showing(request, token)
        identity = None if shown is None else await _vouched_for(gate, shown)
        if identity is None or not (identity.username == caller.username or self._sees_all(caller)):
            return _INACTIVE
        scopes = [ALL] if identity.scopes is None else [str(scope) for scope in identity.scopes]
        # RFC 7662 2.2: separated by blanks, and ours have one inside.
        found: dict[str, Any] = {
            "active": True,
            "token_type": "Bearer",
            "scope": " ".join(map(scope_token, scopes)),
            "username": identity.username,
            "sub": identity.subject or identity.username,
        }
        if identity.expires_at is not None:
            found["exp"] = identity.expires_at
        return found

    def _sees_all(self, caller: Identity) -> bool:
        return self.seers is not None and self.seers.met_by(caller)

    async def _revoke_credential(self, gate: Gate, request: GateRequest, token: str) -> bool:
        """Take back a credential of a backend's; return whether there was one."""
        shown = _showing(request, token)
        identity = None if shown is None else await _vouched_for(gate, shown)
        if shown is None or identity is None:
            return False
        decider = gate.decider

        def refuse() -> None:
            self.given.refuse(token, until=identity.expires_at)
            # Where its backend can, it is refused in every place where the backend stands, too.
            with decider.app.request_context(shown.environ(False)):
                refuse_credential(decider.chain, revocation_events_of(decider.app), Bearer(token))

        await decider.lanes.run(request.client, refuse, lane="aside")
        path = request.path.decode("ascii")
        audit.record(
            audit.AuditEvent("revoke", identity.backend, identity.username, "", request.method, path, request.client)
        )
        return True

    def _base(self, request: GateRequest) -> str:
        if not self.base_url and not request.intake.host:
            raise BadRequest("Host: missing; send one, or ask the operator to set [token_endpoint] public_url")
        origin = self.base_url or f"{request.scheme}://{request.intake.host.decode('ascii')}"
        return origin + request.root


def _showing(request: GateRequest, token: str) -> GateRequest | None:
    """Return the request as if it had come with the token and nothing else; None for what cannot be one."""
    if len(token) > MAX_TOKEN68_BYTES or not is_token68(token):
        return None
    value = f"Bearer {token}".encode("ascii")
    # A module of Airflow 2 may know a caller by any header, by the body, or by a proxy's word. All that is about who
    # asks, and would vouch for a token that somebody has invented.
    intake = replace(request.intake, kept=[], authorization=value, cookies=[])
    return replace(request, intake=intake, only_asked_about=True, body=b"", held=None, identity_headers=[])


async def _vouched_for(gate: Gate, shown: GateRequest) -> Identity | None:
    """Return whom a backend takes the bearer of a token for; None where it takes it for nobody's.

    Raises:
        BackendUnavailable: A source could not be asked: "not good" would be a guess.
        TooManyRequests: So it would where too many guesses were made.
    """
    try:
        decision = await gate.decide(shown)
    except CompatAuthError as error:
        if error.status >= 500 or isinstance(error, TooManyRequests):
            raise
        return None
    return decision.identity if isinstance(decision, Granted) else None


async def _token_in(request: GateRequest, receive: Receive) -> str:
    content_type = [value.decode("latin-1") for name, value in request.intake.kept if name == b"content-type"]
    fields = parse_form(content_type[0] if len(content_type) == 1 else "", await read_body(receive, MAX_BODY_BYTES))
    if not fields.get("token"):
        raise TokenRequestRefused("invalid_request", "token: missing")
    return fields["token"]


async def _is_post(request: GateRequest, send: Send) -> bool:
    if request.method == "POST":
        return True
    await respond(send, 405, headers=[*_NO_STORE, (b"allow", b"POST")])
    return False


async def _send_json(
    send: Send, status: int, content: Mapping[str, Any], headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    await respond(send, status, json.dumps(content).encode(), content_type=_JSON, headers=[*_NO_STORE, *headers])

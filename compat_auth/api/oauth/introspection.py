"""Token introspection (RFC 7662) and token revocation (RFC 7009) for OAuth clients.

A caller can introspect only its own tokens, unless `[token_endpoint] introspect_any_of` names the caller: for all
others, another user's token looks like a guessed one. A caller that has a token may revoke it; the answer says nothing
about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from compat_auth import audit
from compat_auth.api.oauth.metadata import NO_STORE, send_json
from compat_auth.api.oauth.revocation import refuse_credential
from compat_auth.api.oauth.token_request import MAX_BODY_BYTES, parse_form
from compat_auth.authn.revocation_events import revocation_events_of
from compat_auth.credentials import MAX_TOKEN68_BYTES, Bearer, is_token68
from compat_auth.errors import CompatAuthError, TokenRequestRefused, TooManyRequests
from compat_auth.gateway.authorization import Authorization
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Decision, Granted
from compat_auth.gateway.identification import Identification
from compat_auth.gateway.middleware import Page
from compat_auth.gateway.refusals import Refusals
from compat_auth.http.asgi import Receive, Send, read_body, respond
from compat_auth.http.request import GateRequest
from compat_auth.identity import Identity, confirmation_of
from compat_auth.requirements import Requirements
from compat_auth.scopes import ALL, scope_token
from compat_auth.tokens.issued import IssuedTokens, KnownToken
from compat_auth.web.throttling import TokenAttempts

_INACTIVE: Mapping[str, Any] = {"active": False}
# RFC 7009 2.2.1
_ONLY_UPSTREAM_KNOWS = (
    "token: only the upstream can verify it, and it has no revocation that is known here; revoke it at the upstream, or set "
    "[token] strategy to shared_secret or key_pair"
)
_CLAIMS = ("exp", "iat", "nbf", "sub", "aud", "iss", "jti", "cnf")


class TokenPages:
    """Introspection and revocation.

    Args:
        issued: The upstream's JWTs.
        attempts: Counts unknown tokens.
        seers: The callers that may introspect everybody's tokens; None: nobody.
        decider: Its chain, app and threads.
        identification: Decides.
        authorization: Allows.
        refusals: Refuses.
    """

    def __init__(
        self,
        issued: IssuedTokens,
        attempts: TokenAttempts,
        seers: Requirements | None,
        *,
        decider: Decider,
        identification: Identification,
        authorization: Authorization,
        refusals: Refusals,
    ) -> None:
        self._issued = issued
        self._attempts = attempts
        self._seers = seers
        self._decider = decider
        self._identification = identification
        self._authorization = authorization
        self._refusals = refusals

    def pages(self) -> dict[str, Page]:
        """Return the pages by path, below the prefix."""
        return {"introspect": self.introspect, "revoke": self.revoke}

    async def introspect(self, request: GateRequest, receive: Receive, send: Send) -> None:
        """Answer whether a token is active and what it says (RFC 7662), to an authenticated caller."""
        if not await _is_post(request, send):
            return
        caller = await self._decide(request)
        if not isinstance(caller, Granted):
            await self._refusals.send(send, caller, request)
            return
        self._authorization.require(caller, request)
        try:
            token = await _token_in(request, receive)
        except TokenRequestRefused as error:
            await send_json(send, 400, {"error": error.code, "error_description": str(error)})
            return
        found = await self._describe(request, token, caller.identity)
        await send_json(send, 200, found, caller.headers)

    async def revoke(self, request: GateRequest, receive: Receive, send: Send) -> None:
        """Revoke a token (RFC 7009); the answer is the same whether there was one or not, if that can be known."""
        if not await _is_post(request, send):
            return
        try:
            token = await _token_in(request, receive)
        except TokenRequestRefused as error:
            await send_json(send, 400, {"error": error.code, "error_description": str(error)})
            return
        async with self._attempts.one(request.client) as tried:
            is_known = await self._decider.lanes.run(request.client, lambda: self._issued.revoke(token), lane="aside")
            # Last, and apart: a slow upstream must not hold what is denied here.
            is_upstreams = await self._decider.lanes.run(
                request.client, lambda: self._issued.revoke_upstream(token), lane="outward"
            )
            tried.failed = not (is_known or is_upstreams) and not await self._revoke_credential(request, token)
        if tried.failed and self._issued.may_be_valid(token):
            await send_json(send, 400, {"error": "unsupported_token_type", "error_description": _ONLY_UPSTREAM_KNOWS})
            return
        await respond(send, 200, headers=NO_STORE)

    async def _decide(self, request: GateRequest) -> Decision:
        # A credential that was accepted a moment ago needs no attempt: guesses from the same address must not block it.
        if self._identification.recall(request) is not None:
            return await self._identification.decide(request)
        async with self._attempts.one(request.client) as tried:
            try:
                decision = await self._identification.decide_here(request)
            except CompatAuthError as error:
                # Who has to wait was not looked at.
                tried.failed = error.status < 500 and not isinstance(error, TooManyRequests)
                raise
            tried.failed = not isinstance(decision, Granted)
            return decision

    async def _describe(self, request: GateRequest, token: str, caller: Identity) -> Mapping[str, Any]:
        def find() -> tuple[KnownToken | None, bool]:
            known = self._issued.find(token)
            return known, known is not None and (self._sees_all(caller) or self._issued.is_of(known, caller))

        known, is_seen = await self._decider.lanes.run(request.client, find)
        if known is not None:
            if not is_seen:
                return _INACTIVE
            said = {name: known.claims[name] for name in _CLAIMS if name in known.claims}
            username = {"username": known.username} if known.username else {}
            return {"active": True, "token_type": "Bearer", "scope": ALL, **username, **said}
        shown = _showing(request, token)
        identity = None if shown is None else await _vouched_for(self._identification, shown)
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
        if identity.certificate:
            found["cnf"] = confirmation_of(identity)
        return found

    def _sees_all(self, caller: Identity) -> bool:
        return self._seers is not None and self._seers.met_by(caller)

    async def _revoke_credential(self, request: GateRequest, token: str) -> bool:
        """Revoke a backend's credential; return whether there was one."""
        shown = _showing(request, token)
        identity = None if shown is None else await _vouched_for(self._identification, shown)
        if shown is None or identity is None:
            return False
        decider = self._decider

        def refuse() -> None:
            self._issued.revoke_text(token, until=identity.expires_at)
            # Where its backend can, it is refused in every place where the backend stands, too.
            with decider.app.request_context(shown.environ(False)):
                refuse_credential(decider.chain, revocation_events_of(decider.app), Bearer(token))

        await decider.lanes.run(request.client, refuse, lane="aside")
        # Tokens that were issued for it end with it. On another lane, because this asks the upstream, too.
        made_from = identity.credential_id
        await decider.lanes.run(
            request.client, lambda: self._issued.revoke_session(tokens=(), credential_id=made_from), lane="outward"
        )
        path = request.path.decode("ascii")
        audit.record(
            audit.AuditEvent("revoke", identity.backend, identity.username, "", request.method, path, request.client)
        )
        return True


def _showing(request: GateRequest, token: str) -> GateRequest | None:
    """Return the request as if the token were its only credential; None for a text that cannot be a token."""
    if len(token) > MAX_TOKEN68_BYTES or not is_token68(token):
        return None
    value = f"Bearer {token}".encode("ascii")
    # A module of Airflow 2 may know a caller by any header, by the body, or by a proxy's word. All that is about who
    # asks, and would vouch for a token that somebody has invented.
    intake = replace(request.intake, kept=[], authorization=value, cookies=[])
    return replace(request, intake=intake, only_asked_about=True, body=b"", held=None, identity_headers=[])


async def _vouched_for(identification: Identification, shown: GateRequest) -> Identity | None:
    """Return the identity of a token's bearer, as a backend sees it; None if no backend accepts the token.

    Raises:
        BackendUnavailable: A source could not be asked: "inactive" would be a guess.
        TooManyRequests: Too many guesses were made: "inactive" would be a guess then too.
    """
    try:
        decision = await identification.decide(shown)
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
    await respond(send, 405, headers=[*NO_STORE, (b"allow", b"POST")])
    return False

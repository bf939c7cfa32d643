"""`/auth/token` and `/auth/token/cli`: a JWT of the upstream for a caller whose credential a backend accepts.

The endpoint has Airflow 3's path and its answers: 201 `{"access_token": …}`, and a refusal that says why in `detail`.
A form with `grant_type` is a grant of OAuth (token exchange, client credentials, assertion) and gets OAuth's answers; the
upstream answers another grant in JSON. Inside Airflow its own login still works: for a user and password that none of our backends accepts, and for
a body that we do not understand. A JWT allows everything that its user may do: a limited credential gets none.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from compat_auth import audit
from compat_auth.api.oauth.client_grants import ClientGrant
from compat_auth.api.oauth.grant_checks import is_whole, may_be_passed_on, oauth_content, passed_on, require_fitting
from compat_auth.api.oauth.token_credential import as_client, content_type, is_of_own_site, with_credential_of
from compat_auth.api.oauth.token_refusals import JSON, NO_STORE, TokenRefusals, send_oauth_error
from compat_auth.api.oauth.token_request import (
    MAX_BODY_BYTES,
    Ask,
    Exchange,
    ForeignGrant,
    Login,
    TokenRequest,
    parse_token_request,
)
from compat_auth.api.oauth.upstream_tokens import as_json, holds_no_text, judged_by_upstream, may_see
from compat_auth.config import Settings
from compat_auth.credentials import Credential
from compat_auth.errors import (
    AmbiguousCredentials,
    CompatAuthError,
    IncompleteLogin,
    InsufficientScope,
    MalformedCredentials,
    NotPermitted,
    StageRefusal,
    TokenRequestRefused,
    TooManyRequests,
    UnsupportedMediaType,
)
from compat_auth.gateway.admission import Admission
from compat_auth.gateway.authorization import Authorization
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Decision, Granted, notices_of
from compat_auth.gateway.identification import Identification
from compat_auth.gateway.origins import UpstreamOrigins
from compat_auth.gateway.refusals import Refusals
from compat_auth.http.asgi import Receive, Send, read_body, respond
from compat_auth.http.request import GateRequest
from compat_auth.identity import Identity, Token
from compat_auth.scopes import ALL
from compat_auth.tokens.strategies import Kind
from compat_auth.web.throttling import TokenAttempts

PATHS: Mapping[str, Kind] = {"/auth/token": "token", "/auth/token/cli": "cli"}
Issue = Callable[[Identity, Credential, Kind], Token]
_UNPROCESSABLE = 422
_BASIC, _MANAGER = "basic_auth", "auth_manager"
# RFC 8693 2.2.2: a bad subject token is an invalid request, whatever is bad about it.
_SUBJECT_AT_FAULT = frozenset((400, 401, 403))


@dataclass(frozen=True, slots=True, repr=False)
class EndpointParts:
    """The parts of a gate that the pages use.

    Attributes:
        decider: Its chain and threads.
        identification: Decides.
        authorization: Allows.
        admission: For requests that the upstream answers.
        origins: The origins that the upstream allows.
        refusals: Refuses.
    """

    decider: Decider
    identification: Identification
    authorization: Authorization
    admission: Admission
    origins: UpstreamOrigins
    refusals: Refusals


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """The two pages.

    Attributes:
        at: The parts of the gate that they use.
        issue: Makes the token for (identity, credential, kind), on any thread.
        attempts: Counts.
        audience: The audience of our tokens.
        incomplete_status: The status of Airflow's auth manager for a body without user name or password.
        words_of_airflow: Refusals have exactly Airflow's text.
        logins_are_upstreams: The upstream has its own login for a password that none of our backends accepts.
        asks_manager: `basic_auth` asks that same login: a user whom it refuses need not be checked twice.
    """

    at: EndpointParts
    issue: Issue
    attempts: TokenAttempts
    audience: str
    incomplete_status: int
    words_of_airflow: bool
    logins_are_upstreams: bool = False
    asks_manager: bool = False

    @classmethod
    def from_settings(
        cls, settings: Settings, at: EndpointParts, issue: Issue, *, logins_are_upstreams: bool = False
    ) -> TokenEndpoint:
        """Return the endpoint as the configuration describes it."""
        limits = settings.token_endpoint
        return cls(
            at,
            issue,
            TokenAttempts(limits.failures_per_minute, limits.tokens_per_minute, settings.serve.workers),
            settings.token.audience,
            _UNPROCESSABLE if settings.upstream.profile == "airflow-simple" else IncompleteLogin.status,
            settings.mode == "airflow2",
            logins_are_upstreams,
            _MANAGER in settings.basic_auth.directories,
        )

    async def __call__(self, request: GateRequest, receive: Receive, send: Send) -> None:
        """Answer at one of the paths; a request that does not ask for a token goes to the upstream."""
        if request.method == "POST":
            body = await read_body(receive, MAX_BODY_BYTES)
        elif request.method == "GET" and request.intake.authorization is not None:
            # Safe: a cookie alone makes nobody a caller here.
            body = b""
        else:
            await self.at.admission.admit(request, receive, send)
            return
        try:
            wanted = self._parse(request, body)
            if wanted is None:
                async with self.attempts.one(request.client) as tried:
                    tried.failed = await judged_by_upstream(self.at.admission, request, body, receive, send)
                return
            await self._require_site(request, wanted)
            try:
                if self.logins_are_upstreams and isinstance(wanted, Login):
                    await self._log_in(request, wanted, receive, send)
                else:
                    await self._answer(request, wanted, send)
            except CompatAuthError as error:
                # What is refused for its stage alone says so itself.
                refused = isinstance(error, (StageRefusal, TokenRequestRefused))
                if isinstance(wanted, Exchange) and not refused and error.status in _SUBJECT_AT_FAULT:
                    raise TokenRequestRefused("invalid_request", "subject_token: no token for it") from error
                if isinstance(wanted, ClientGrant) and not refused and error.status in _SUBJECT_AT_FAULT:
                    raise TokenRequestRefused(wanted.fault, "no token for it") from error
                raise
        except TokenRequestRefused as error:
            await send_oauth_error(send, error, request)
        except CompatAuthError as error:
            await self._refusals.send_error(send, error, request)

    def _parse(self, request: GateRequest, body: bytes) -> TokenRequest | None:
        """Return the request for a token; None: the upstream must answer.

        Raises:
            CompatAuthError: See `parse_token_request`.
        """
        kind = content_type(request)
        try:
            wanted = as_client(parse_token_request(kind, body), request)
        except (IncompleteLogin, UnsupportedMediaType):
            # A site's own FabAuthManager may want something else than a password.
            if self.logins_are_upstreams and not holds_no_text(body):
                return None
            raise
        authorization = request.intake.authorization
        if isinstance(wanted, ForeignGrant):
            if authorization is None:
                return None
            wanted = Ask(is_empty=False)
        elif (
            self.logins_are_upstreams
            and isinstance(wanted, Ask)
            and authorization is None
            and not request.intake.cookies
        ):
            return None
        return wanted

    async def _require_site(self, request: GateRequest, wanted: TokenRequest) -> None:
        """Check that no page of another site sent the request, except one that the upstream's CORS settings allow.

        Raises:
            NotPermitted: Another page did, or the request's only credential is a cookie.
            CompatAuthError: The upstream could not be asked.
        """
        # A script of another site sends JSON only where Airflow's CORS settings let it.
        kind = content_type(request)
        if self.logins_are_upstreams and isinstance(wanted, Login) and kind.startswith(JSON.decode()):
            return
        if is_of_own_site(request):
            return
        if not await self.at.origins.allow(request):
            raise NotPermitted("asked for by another site")
        if isinstance(wanted, Ask) and request.intake.authorization is None:
            raise NotPermitted("asked for by another site, with a cookie")

    async def _log_in(self, request: GateRequest, login: Login, receive: Receive, send: Send) -> None:
        """Answer a login inside Airflow: ours if one of our backends accepts it, else Airflow's own."""

        async def ask_airflow() -> bool:
            shown, body = as_json(request, login)
            return await judged_by_upstream(self.at.admission, shown, body, receive, send, username=login.username)

        try:
            shown = with_credential_of(login, request)
        except (AmbiguousCredentials, MalformedCredentials):
            # Airflow reads nothing but the body, and knows names that HTTP Basic could not carry.
            if not may_see(login):
                raise
            async with self.attempts.one(request.client) as tried:
                tried.failed = await ask_airflow()
            return
        has_asked = self.asks_manager and any(backend.name == _BASIC for backend in self.at.decider.chain.backends)
        otherwise = None if has_asked or not may_see(login) else ask_airflow
        decision = await self._decide(shown, otherwise)
        if decision is not None:
            await self._conclude(request, shown, login, decision, send)

    async def _answer(self, request: GateRequest, wanted: TokenRequest, send: Send) -> None:
        shown = with_credential_of(wanted, request)
        decision = await self._decide(shown, None)
        if decision is not None:
            await self._conclude(request, shown, wanted, decision, send)

    async def _conclude(
        self,
        request: GateRequest,
        shown: GateRequest,
        wanted: TokenRequest,
        decision: Decision,
        send: Send,
    ) -> None:
        if isinstance(decision, Granted) and shown is not request:
            await _require_shown(self.at.decider, request, decision.identity)
        if not isinstance(decision, Granted):
            if isinstance(wanted, Exchange):
                raise TokenRequestRefused("invalid_request", "subject_token: no backend accepts it")
            if isinstance(wanted, ClientGrant):
                raise TokenRequestRefused(wanted.fault, "no backend accepts it")
            if isinstance(wanted, Ask) and not wanted.is_empty and shown.intake.authorization is None:
                raise IncompleteLogin("Username and password must be provided")
            detail = "Not authenticated" if shown.intake.authorization is None else "Invalid credentials"
            status = getattr(decision, "status", 401)
            await self._refusals.send(send, status, detail, decision.challenges, shown)
            return
        if isinstance(wanted, (Exchange, ClientGrant)):
            require_fitting(wanted, decision.identity, self.audience)
        token = await self._token_for(shown, wanted, decision)
        headers = [*NO_STORE, *decision.headers, *notices_of(decision)]
        if isinstance(wanted, (Exchange, ClientGrant)):
            content, status = oauth_content(wanted, token, decision.identity), 200
        else:
            content, status = {"access_token": token.value}, 201
        await respond(send, status, json.dumps(content).encode(), content_type=JSON, headers=headers)

    async def _token_for(self, shown: GateRequest, wanted: TokenRequest, decision: Granted) -> Token:
        identity = decision.identity
        if not is_whole(identity) and may_be_passed_on(wanted, identity):
            # Its scopes limit what the token is used for, not that it is asked for.
            self.at.authorization.require(replace(decision, identity=replace(identity, scopes=None)), shown)
            self.attempts.count_token(identity.username)
            token = passed_on(shown, identity)
            _record(shown, identity, "issue", "the credential itself, which is limited")
            return token
        # A scope for this very path would not do.
        _require_whole(identity)
        self.at.authorization.require(decision, shown)
        return await self._issue(shown, identity)

    async def _decide(self, shown: GateRequest, otherwise: Callable[[], Awaitable[bool]] | None) -> Decision | None:
        """Return the decision; None if no backend accepts the caller and `otherwise` has answered.

        Args:
            shown: The request with the credential.
            otherwise: Answers, and returns whether the credential is also wrong there; None: the decision is final.
        """
        # A credential that was accepted a moment ago needs no attempt: guesses from the same address must not block it.
        if self.at.identification.recall(shown) is not None:
            return await self.at.identification.decide(shown)
        async with self.attempts.one(shown.client) as tried:
            try:
                decision = await self.at.identification.decide_here(shown)
            except CompatAuthError as error:
                # Who has to wait was not looked at.
                tried.failed = error.status < 500 and not isinstance(error, (StageRefusal, TooManyRequests))
                raise
            if otherwise is not None and not isinstance(decision, Granted):
                tried.failed = await otherwise()
                return None
            tried.failed = not isinstance(decision, Granted) and shown.intake.authorization is not None
            return decision

    async def _issue(self, shown: GateRequest, identity: Identity) -> Token:
        self.attempts.count_token(identity.username)
        credential = shown.shown.credential()
        kind = PATHS[shown.path.decode("ascii")]
        try:
            token = await self.at.decider.lanes.run(shown.client, lambda: self.issue(identity, credential, kind))
        except CompatAuthError as error:
            _record(shown, identity, "reject" if error.status < 500 else "unavailable", f"no token: {error}")
            raise
        _record(shown, identity, "issue", "")
        return token

    @property
    def _refusals(self) -> TokenRefusals:
        challenges = self.at.decider.chain.challenges
        return TokenRefusals(self.at.refusals, challenges, self.incomplete_status, self.words_of_airflow)


async def _require_shown(decider: Decider, request: GateRequest, identity: Identity) -> None:
    """Check that the accepted credential is the one in the body, and not the caller's own.

    A service asks for a token with its client's credential. A module of Airflow 2 that identifies the service by a
    header of its own or of a proxy would then issue the service's own token for any credential in the body.

    Raises:
        MalformedCredentials: The same caller is accepted without it.
    """
    accepting = (backend for backend in decider.chain.backends if backend.name == identity.backend)
    if all(backend.depends_on_credential_only for backend in accepting):
        return
    bare = replace(request, intake=replace(request.intake, authorization=None, cookies=[]))
    if isinstance(await decider.decide(bare.presented()), Granted):
        raise MalformedCredentials("a credential in the body and one elsewhere in the request; send one")


def _require_whole(identity: Identity) -> None:
    if not is_whole(identity):
        raise InsufficientScope("the credential is limited, and a token of the upstream's would not be", ALL)


def _record(shown: GateRequest, identity: Identity, result: str, reason: str) -> None:
    path = shown.path.decode("ascii")
    audit.record(
        audit.AuditEvent(result, identity.backend, identity.username, reason, shown.method, path, shown.client)
    )

"""`/auth/token` and `/auth/token/cli`: a JWT of the upstream's for whoever has a credential that a backend accepts.

The door is Airflow 3's own, and so are its answers: 201 `{"access_token": …}`, and a refusal that says why in `detail`.
A form with `grant_type` is a token exchange (RFC 8693) and gets OAuth's answers. Inside Airflow its own door is still
there: a user name and a password in the body are its to judge, as is what neither of us understands. What the upstream is given it takes
for the whole user: a credential that is limited gets none.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from compat_auth import audit
from compat_auth.asgi import RawHeaders, Receive, Send, read_body, replayed, respond
from compat_auth.bearer import ask_for_scope
from compat_auth.config import Settings
from compat_auth.credentials import Basic, Credential, parse_authorization
from compat_auth.decision import Decision, Granted
from compat_auth.errors import (
    AmbiguousCredentials,
    CompatAuthError,
    IncompleteLogin,
    InsufficientScope,
    InvalidToken,
    MalformedCredentials,
    NotPermitted,
    TokenRequestRefused,
    TooManyRequests,
)
from compat_auth.gate import Gate
from compat_auth.identity import Identity, Token
from compat_auth.keys import unix_now
from compat_auth.problem import PROBLEM_JSON, problem_body
from compat_auth.request import GateRequest
from compat_auth.scopes import ALL
from compat_auth.strategies import Kind
from compat_auth.token_request import (
    ACCESS_TOKEN,
    ID_TOKEN,
    JWT,
    MAX_BODY_BYTES,
    PERSONAL_TOKEN,
    SPNEGO,
    Ask,
    Exchange,
    Login,
    TokenRequest,
    parse_token_request,
)
from compat_auth.tokens import read_unverified
from compat_auth.web.attempts import TokenAttempts

PATHS: Mapping[str, Kind] = {"/auth/token": "token", "/auth/token/cli": "cli"}
Issue = Callable[[Identity, Credential, Kind], Token]
_NO_STORE: RawHeaders = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
_JSON = b"application/json"
# A page of another site may make a browser ask with its user's ticket or password (W3C Fetch Metadata).
_OWN_SITES = frozenset((b"same-origin", b"none"))
# A token of one kind that is shown as another is somebody's mistake, or an attack (RFC 8725 3.11).
_BACKENDS_OF = {ID_TOKEN: {"google_openid"}, PERSONAL_TOKEN: {"personal_token"}, SPNEGO: {"kerberos"}}
_NO_ACCESS_TOKENS = frozenset({"google_openid", "kerberos"})
_UNPROCESSABLE = 422
# RFC 8693 2.2.2: a bad subject token is an invalid request, whatever is bad about it.
_SUBJECT_AT_FAULT = frozenset((400, 401, 403))


@dataclass(frozen=True, slots=True)
class TokenDoor:
    """The two pages.

    Attributes:
        issue: Makes the token for (identity, credential, kind), on any thread.
        attempts: Counts.
        audience: Whom our tokens are for.
        incomplete_status: What Airflow's auth manager answers to a body without user name or password.
        words_of_airflow: Refusals are Airflow's to the letter.
        logins_are_upstreams: What is no request of ours, a user name and a password in the body among it, is answered by
            what stands behind.
    """

    issue: Issue
    attempts: TokenAttempts
    audience: str
    incomplete_status: int
    words_of_airflow: bool
    logins_are_upstreams: bool = False

    @classmethod
    def from_settings(cls, settings: Settings, issue: Issue, *, logins_are_upstreams: bool = False) -> TokenDoor:
        """Return the doors as the configuration wants them."""
        limits = settings.token_endpoint
        return cls(
            issue,
            TokenAttempts(limits.failures_per_minute, limits.tokens_per_minute, settings.serve.workers),
            settings.token.audience,
            _UNPROCESSABLE if settings.upstream.profile == "airflow-simple" else IncompleteLogin.status,
            settings.mode == "airflow2",
            logins_are_upstreams,
        )

    async def __call__(self, gate: Gate, request: GateRequest, receive: Receive, send: Send) -> None:
        """Answer at one of the doors; what is no request for a token is the upstream's."""
        if request.method == "POST":
            body = await read_body(receive, MAX_BODY_BYTES)
        elif request.method == "GET" and request.intake.authorization is not None:
            # Safe: a cookie alone makes nobody a caller here.
            body = b""
        else:
            await gate.let_through(request, receive, send)
            return
        if self.logins_are_upstreams and _is_for_upstream(request, body):
            await gate.let_through(request, replayed(body, receive), send)
            return
        try:
            is_foreign = await _comes_from_allowed_site(gate, request)
            wanted = parse_token_request(_content_type(request), body)
            if is_foreign and isinstance(wanted, Ask) and request.intake.authorization is None:
                raise NotPermitted("asked for by another site, with a cookie")
            try:
                await self._answer(gate, request, wanted, send)
            except CompatAuthError as error:
                refused = isinstance(error, TokenRequestRefused)
                if isinstance(wanted, Exchange) and not refused and error.status in _SUBJECT_AT_FAULT:
                    raise TokenRequestRefused("invalid_request", "subject_token: no token for it") from error
                raise
        except TokenRequestRefused as error:
            await _refuse_oauth(send, error.code, str(error))
        except CompatAuthError as error:
            await self._refuse(gate, request, send, error)

    async def _answer(self, gate: Gate, request: GateRequest, wanted: TokenRequest, send: Send) -> None:
        shown = _with_credential_of(wanted, request)
        decision = await self._decide(gate, shown)
        if not isinstance(decision, Granted):
            if isinstance(wanted, Exchange):
                raise TokenRequestRefused("invalid_request", "subject_token: no backend accepts it")
            if isinstance(wanted, Ask) and not wanted.is_empty and shown.intake.authorization is None:
                raise IncompleteLogin("Username and password must be provided")
            detail = "Not authenticated" if shown.intake.authorization is None else "Invalid credentials"
            status = getattr(decision, "status", 401)
            await self._send_refusal(send, status, detail, _challenges(gate, shown, status, decision.challenges))
            return
        if isinstance(wanted, Exchange):
            self._require_exchangeable(wanted, decision.identity)
        # A scope for this very path would not do.
        _require_whole(decision.identity)
        gate.require_permission(decision, shown)
        token = await self._issue(gate, shown, decision.identity)
        headers = [*_NO_STORE, *decision.headers]
        if isinstance(wanted, Exchange):
            content: dict[str, object] = {
                "access_token": token.value,
                "issued_token_type": wanted.issued_type,
                "token_type": "Bearer",
                "expires_in": max(0, token.expires_at - unix_now()),
                "scope": ALL,
            }
            await respond(send, 200, json.dumps(content).encode(), content_type=_JSON, headers=headers)
        else:
            content = {"access_token": token.value}
            await respond(send, 201, json.dumps(content).encode(), content_type=_JSON, headers=headers)

    async def _decide(self, gate: Gate, shown: GateRequest) -> Decision:
        authorization = shown.intake.authorization
        # Whoever was let in a moment ago is let in again, however many others behind one address guess.
        if authorization is not None and gate.decider.recall(authorization, shown.presented) is not None:
            return await gate.decide(shown)
        async with self.attempts.one(shown.client) as tried:
            try:
                # Without a header the session is asked, even beside a cookie of the upstream's own.
                decision = await (
                    gate.decide(shown) if authorization is not None else gate.decider.decide(shown.presented())
                )
            except CompatAuthError as error:
                # Who has to wait was not looked at.
                tried.failed = error.status < 500 and not isinstance(error, TooManyRequests)
                raise
            tried.failed = not isinstance(decision, Granted) and authorization is not None
            return decision

    def _require_exchangeable(self, wanted: Exchange, identity: Identity) -> None:
        expected = _BACKENDS_OF.get(wanted.subject_type)
        if expected is not None and identity.backend not in expected:
            raise TokenRequestRefused("invalid_request", "subject_token: not of its subject_token_type")
        if wanted.subject_type == ACCESS_TOKEN and identity.backend in _NO_ACCESS_TOKENS:
            raise TokenRequestRefused("invalid_request", "subject_token: not an access token")
        if any(audience != self.audience for audience in wanted.audiences):
            raise TokenRequestRefused("invalid_target", "audience: tokens are made for one audience here")
        if wanted.scope not in ("", ALL):
            raise TokenRequestRefused("invalid_scope", "scope: the upstream knows none, so a token is for all")
        if not _is_whole(identity):
            raise TokenRequestRefused("invalid_scope", "subject_token: it is limited, and the new token would not be")

    async def _issue(self, gate: Gate, shown: GateRequest, identity: Identity) -> Token:
        self.attempts.count_token(identity.username)
        authorization = shown.intake.authorization
        credential = parse_authorization(None if authorization is None else authorization.decode("ascii"))
        kind = PATHS[shown.path.decode("ascii")]
        token = await gate.decider.run(shown.client, lambda: self.issue(identity, credential, kind))
        path = shown.path.decode("ascii")
        audit.record(audit.Verdict("issue", identity.backend, identity.username, "", shown.method, path, shown.client))
        return token

    async def _refuse(self, gate: Gate, request: GateRequest, send: Send, error: CompatAuthError) -> None:
        if isinstance(error, IncompleteLogin):
            await self._send_refusal(send, self.incomplete_status, str(error), [])
        elif error.status in (401, 403):
            detail = str(error) if isinstance(error, (InsufficientScope, MalformedCredentials)) else ""
            headers = _challenges(gate, request, error.status, gate.decider.chain.challenges())
            if isinstance(error, InsufficientScope):
                headers = [(b"www-authenticate", ask_for_scope(error.needed, gate.occasion(request)).encode("ascii"))]
            await self._send_refusal(send, error.status, detail or _DETAILS[error.status], headers)
        else:
            await gate.refuse(send, error, request)

    async def _send_refusal(self, send: Send, status: int, detail: str, headers: RawHeaders) -> None:
        if self.words_of_airflow:
            body, content_type = json.dumps({"detail": detail}).encode(), _JSON
        else:
            body, content_type = problem_body(status, detail=detail), PROBLEM_JSON.encode()
        await respond(send, status, body, content_type=content_type, headers=[*_NO_STORE, *headers])


_DETAILS = {401: "Invalid credentials", 403: "Forbidden"}


def _is_for_upstream(request: GateRequest, body: bytes) -> bool:
    """Return whether the upstream's own door understands a request, or is to say what is wrong with it."""
    try:
        wanted = parse_token_request(_content_type(request), body)
    except TokenRequestRefused:
        return False
    except CompatAuthError:
        return True
    has_own = request.intake.authorization is not None or bool(request.intake.cookies)
    return isinstance(wanted, Login) or (isinstance(wanted, Ask) and not has_own)


def _with_credential_of(wanted: TokenRequest, request: GateRequest) -> GateRequest:
    """Return the request as if it had come with the credential that its body brings.

    Raises:
        AmbiguousCredentials: It has brought another, too.
        MalformedCredentials: HTTP Basic could not carry the pair (RFC 7617 section 2).
    """
    if isinstance(wanted, Ask):
        return request
    value = _basic(wanted) if isinstance(wanted, Login) else _subject(wanted)
    if request.intake.authorization is not None:
        raise AmbiguousCredentials("a credential in the body and one in Authorization; send one")
    return replace(request, intake=replace(request.intake, authorization=value, cookies=[]))


def _basic(login: Login) -> bytes:
    # strict_json and the form's decoder let no half surrogate pair by, so this encodes.
    value = "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode("ascii")
    try:
        if parse_authorization(value) == Basic(login.username, login.password):
            return value.encode("ascii")
    except MalformedCredentials:
        pass
    raise MalformedCredentials("Invalid credentials")


def _subject(wanted: Exchange) -> bytes:
    if wanted.subject_type == JWT:
        try:
            read_unverified(wanted.subject_token)
        except InvalidToken:
            raise TokenRequestRefused("invalid_request", "subject_token: not a JWT") from None
    scheme = "Negotiate" if wanted.subject_type == SPNEGO else "Bearer"
    return f"{scheme} {wanted.subject_token}".encode("ascii")


async def _comes_from_allowed_site(gate: Gate, request: GateRequest) -> bool:
    """Return whether a page of another site asks, to which the upstream's CORS settings would give a token, too.

    Raises:
        NotPermitted: A page of another site asks, and they would not.
        CompatAuthError: The upstream could not be asked.
    """
    found = [value for name, value in request.intake.kept if name == b"sec-fetch-site"]
    if all(value in _OWN_SITES for value in found):
        return False
    if not await gate.allows_origin(request):
        raise NotPermitted("asked for by another site")
    return True


def _require_whole(identity: Identity) -> None:
    if not _is_whole(identity):
        raise InsufficientScope("the credential is limited, and a token of the upstream's would not be", ALL)


def _is_whole(identity: Identity) -> bool:
    return identity.scopes is None or any(str(scope) == ALL for scope in identity.scopes)


def _challenges(gate: Gate, request: GateRequest, status: int, challenges: tuple[str, ...]) -> RawHeaders:
    if status != 401:
        return []
    sent = gate.rules.style.invite(challenges, gate.occasion(request))
    return [(b"www-authenticate", challenge.encode("latin-1")) for challenge in sent]


def _content_type(request: GateRequest) -> str:
    found = [value.decode("latin-1") for name, value in request.intake.kept if name == b"content-type"]
    return found[0] if len(found) == 1 else ""


async def _refuse_oauth(send: Send, code: str, description: str) -> None:
    content = {"error": code, "error_description": description}
    await respond(send, 400, json.dumps(content).encode(), content_type=_JSON, headers=_NO_STORE)

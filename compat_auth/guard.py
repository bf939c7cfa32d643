"""Guards a view of any Flask app with one authenticator, as `requires_authentication` does."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import replace
from functools import partial, wraps
from http import HTTPStatus
from io import BytesIO
from types import MethodType
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import flask
from werkzeug.local import LocalProxy
from werkzeug.test import run_wsgi_app

from compat_auth import audit
from compat_auth.concurrency.one_at_a_time import until_answered
from compat_auth.credentials import (
    ANY_SPELLING,
    Basic,
    Credential,
    authorization_with_api_key,
    parse_authorization,
    parse_in_any_spelling,
    single_authorization,
)
from compat_auth.errors import (
    BackendUnavailable,
    CompatAuthError,
    ConfigError,
    InsufficientScope,
    NoActiveKey,
    NoSuchUser,
    NotAuthenticated,
    NotPermitted,
    RequestRefused,
    StageRefusal,
)
from compat_auth.facts import request_facts
from compat_auth.http.browser.cross_origin import (
    Call,
    find_foreign_origin,
    is_added_by_browsers,
    is_allowed_by,
    preflight_for,
)
from compat_auth.http.browser.csrf import HANDSHAKE
from compat_auth.http.challenges import ChallengeContext, caller_of, is_bearer
from compat_auth.http.error_responses import ErrorStyle, RenderedError
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Challenge, Outcome, Reject, Skip
from compat_auth.requirements import NOTHING_REQUIRED, Requirements, listed, requirements_of
from compat_auth.scopes import METHOD_OVERRIDES, Scope, allow, needed_scopes
from compat_auth.stages.choice import RuleSet, Use
from compat_auth.stages.of_app import SINGLE, stages_of

if TYPE_CHECKING:
    from compat_auth.stages.enforcement import Stages

__all__ = ["IdentityUser", "View", "current_identity", "guard_view", "request_credential", "sign_in"]

_log = logging.getLogger("compat_auth.views")
View = Callable[..., Any]
"""A view of a Flask app, sync or async."""
_FAULT = 500
_API_KEY = "compat_auth_api_key"
METADATA_URL = "compat_auth.metadata_url"
"""Key in the WSGI environment by which a gate passes `ChallengeContext.metadata_url` to our pages behind it."""

Preflight = Callable[[list[tuple[bytes, bytes]]], tuple[int, list[tuple[bytes, bytes]]]]
PREFLIGHT = "compat_auth.preflight"
"""Key in the WSGI environment under which an app that is not Flask's answers a preflight: `Preflight`."""

WEBSOCKET = "compat_auth.websocket"
"""Key in the WSGI environment that marks the handshake of a WebSocket, whose Upgrade header the app's server may keep."""

JUDGED = "compat_auth.judged"
"""Key in the WSGI environment under which a gate says who the caller is, as an `Outcome` or the error to answer with."""


class IdentityUser:
    """An identity in the shape that flask-login and Airflow 2 views expect of a user."""

    is_authenticated = True
    is_active = True
    is_anonymous = False

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.username = identity.username
        self.email = identity.email
        self.roles = identity.roles

    def get_id(self) -> str:
        """Return the user's id: the upstream's key where it is known, else the name."""
        return self.identity.upstream_id or self.identity.username


def sign_in(identity: Identity) -> None:
    """Make the identity current for this request only: no session is touched, no cookie is set."""
    flask.g.compat_auth_identity = identity
    set_flask_login_user(IdentityUser(identity))


FLASK_LOGIN_USER = "_login_user"
"""The attribute of `flask.g` in which flask-login keeps the user (since 0.6.2; checked with 0.6.3, the newest version)."""


def set_flask_login_user(user: object) -> None:
    """Make a user `flask_login.current_user` for this request only.

    flask-login has no public function for it: `login_user()` writes a session and sets a cookie, and an app has only
    one request loader, which may be its own. No other place knows where flask-login looks.
    """
    setattr(flask.g, FLASK_LOGIN_USER, user)


OUTSIDE_FLASK: ContextVar[Callable[[], Identity | None]] = ContextVar("compat_auth_outside_flask")
"""Finds the identity of the current request of an app that is not Flask's."""


def _find_identity() -> Identity | None:
    find = None if flask.has_app_context() else OUTSIDE_FLASK.get(None)
    return cast("Identity | None", flask.g.get("compat_auth_identity")) if find is None else find()


current_identity = cast("Identity", LocalProxy(_find_identity))
"""The identity of the current request; false if nobody is authenticated."""


def plain_identity(identity: Identity) -> Identity:
    """Return the identity itself where `current_identity` is given, for another thread.

    Raises:
        NotAuthenticated: Nobody has been vouched for.
    """
    found = cast("Identity | None", copy.copy(identity))
    if found is None:
        raise NotAuthenticated("nobody is authenticated in this request")
    return found


def request_credential() -> Credential:
    """Return the credential of Flask's current request.

    Raises:
        MalformedCredentials, AmbiguousCredentials: See `compat_auth.credentials`.
    """
    parse = parse_in_any_spelling if flask.current_app.extensions.get(ANY_SPELLING) else parse_authorization
    return parse(request_authorization())


def accept_api_key(app: flask.Flask, name: bytes) -> None:
    """Have the app's views take a personal token from this header, too; b"": from none."""
    app.extensions[_API_KEY] = name.decode("ascii")


def request_authorization() -> str | None:
    """Return the Authorization value of Flask's current request, or what stands for it; None where there is none.

    Raises:
        MalformedCredentials, AmbiguousCredentials: See `compat_auth.credentials`.
    """
    headers = flask.request.headers
    values = [value.encode("latin-1") for value in headers.getlist("Authorization")]
    name: str = flask.current_app.extensions.get(_API_KEY, "")
    keys = [value.encode("latin-1") for value in headers.getlist(name)] if name else []
    if not keys:
        return single_authorization(values)
    own = single_authorization(values)
    value = authorization_with_api_key(None if own is None else own.encode("ascii"), keys)
    return None if value is None else value.decode("ascii")


def _credential_of_request() -> Credential:
    try:
        return request_credential()
    except CompatAuthError as error:
        if JUDGED not in flask.request.environ:
            _record_decision("reject", "", "", str(error))
        raise


def _record_decision(result: str, backend: str, username: str, reason: str, *, names_nobody: bool = False) -> None:
    """Leave one entry in the audit log about Flask's current request; see `audit.AuditEvent`."""
    request = flask.request
    client = request.remote_addr or ""
    audit.record(
        audit.AuditEvent(result, backend, username, reason, request.method, request.path, client, names_nobody)
    )


def recorded(ask: Callable[[], tuple[Outcome, str]], credential: Credential) -> Outcome:
    """Return the outcome for the credential of Flask's current request, and write it to the audit log.

    Args:
        ask: Returns the outcome, and the name of the backend that decided.
        credential: The credential.

    Raises:
        CompatAuthError: The error of `ask`.
    """
    claimed = credential.username if isinstance(credential, Basic) else ""
    try:
        outcome, backend = ask()
    except CompatAuthError as error:
        _record_decision("reject" if error.status < _FAULT else "unavailable", "", claimed, str(error))
        raise
    result, reason = describe(outcome)
    username = outcome.identity.username if isinstance(outcome, Accept) else claimed
    names_nobody = isinstance(outcome, Reject) and outcome.names_nobody
    _record_decision(result, backend, username, reason, names_nobody=names_nobody)
    return outcome


def describe(outcome: Outcome) -> tuple[str, str]:
    """Return result and reason of an outcome, for the audit log."""
    match outcome:
        case Accept(reason=reason):
            return "accept", reason
        case Reject(reason):
            return "reject", reason
        case Challenge():
            return "challenge", ""
        case Skip():
            return "skip", "no backend takes this kind of credential"


def send_rendered(wording: RenderedError) -> flask.Response:
    """Return a refusal as a Flask response."""
    response = flask.Response(wording.body, wording.status, content_type=wording.content_type)
    for name, value in wording.headers:
        response.headers.add(name, value)
    return response


def require_permission(identity: Identity, requirements: Requirements) -> None:
    """Check that the identity may continue with Flask's current request.

    Raises:
        InsufficientScope: Its credential is limited, and not for this method and path.
        NotPermitted: It does not meet the requirements.
    """
    if identity.scopes is not None:
        _require_covered(identity.scopes)
    if not requirements.met_by(identity):
        raise NotPermitted


def _require_covered(scopes: tuple[Scope, ...]) -> None:
    path, methods = _routed()
    if not all(allow(scopes, method, path) for method in methods):
        raise InsufficientScope("the credential's scopes do not cover this request", needed_scopes(methods, path))


def _routed() -> tuple[str, tuple[str, ...]]:
    """Return the path of Flask's current request as scopes spell it, and every method that the request may count as."""
    request = flask.request
    # Flask has routed by the decoded path below the mount point: that very path, spelled as scopes spell it.
    path = quote(request.root_path.rstrip("/") + request.path, safe="/!$&'()*+,;=:@~")
    if path.endswith("/") and any(str(value).endswith("/") for value in (request.view_args or {}).values()):
        # To a rule that ends with <path:…>, the last slash is a part of what the path names.
        path = f"{path[:-1]}%2F"
    overrides = (request.headers.get(name.decode("ascii")) for name in METHOD_OVERRIDES)
    return path, (request.method, *(value.strip().upper() for value in overrides if value is not None))


def require_stage(identity: Identity) -> None:
    """Check that the stage of the identity's login allows Flask's current request.

    Raises:
        StageRefusal: The login is not to be used any more, or not now.
        BackendUnavailable: The stages were never read, and cannot be.
    """
    _stage_headers(identity)


def page_headers(identity: Identity, *, is_way_out: bool) -> tuple[tuple[str, str], ...]:
    """Return the headers that announce the end of a session's login, on a page that asks for no other credential.

    Args:
        identity: As the session's backend knows the caller.
        is_way_out: The page leads to another login, so that only rules count that name the user, and refuse.

    Raises:
        StageRefusal: The login is not to be used any more, or not now.
        BackendUnavailable: The stages were never read, and cannot be.
    """
    stages = stages_of(flask.current_app)
    if stages is None:
        return ()
    rules, use = stages.memory.current(), _use_of(identity)
    if is_way_out:
        rule = stages.find(rules, use)
        if rule is None or not rule.selector.principal or rule.stage not in ("off", "brownout"):
            return ()
    return _judged(stages, rules, use)


def _stage_headers(identity: Identity) -> tuple[tuple[str, str], ...]:
    """Return the headers that announce the end of the caller's login; the gate has added its own already.

    Raises:
        StageRefusal: The login is not to be used any more, or not now.
        BackendUnavailable: The stages were never read, and cannot be.
    """
    stages = stages_of(flask.current_app)
    if stages is None or JUDGED in flask.request.environ:
        return ()
    rules = stages.memory.current()
    if not rules.stages_anything:
        return ()
    return _judged(stages, rules, _use_of(identity))


def _use_of(identity: Identity) -> Use:
    path, methods = _routed()
    origins = (identity.login,) if identity.login else ()
    return Use(identity.backend, identity.actor or identity.username, methods, path, origins)


def _judged(stages: Stages, rules: RuleSet, use: Use) -> tuple[tuple[str, str], ...]:
    try:
        return stages.judge(rules, use)
    except StageRefusal as refusal:
        _record_decision("reject", use.backend, use.principal, f"stage: {refusal}")
        raise


def _require_own_origin() -> None:
    """Check that no page of another origin can have made a browser add the accepted credential.

    Raises:
        NotPermitted: It may have, and the app's own CORS settings do not let that origin send the credential.
    """
    request = flask.request
    authorization = request_authorization()
    if not is_added_by_browsers(authorization):
        return
    names = ("Sec-Fetch-Site", "Sec-Fetch-Mode", "Origin", "Content-Type")
    site, mode, origin, content_type = (
        ", ".join(request.headers.getlist(name)) if name in request.headers else None for name in names
    )
    call = Call(method_for_browsers(), site, mode, origin, content_type, f"{request.scheme}://{request.host}")
    reason = find_foreign_origin(call)
    headers = preflight_for(call) if reason and authorization is not None else None
    if headers is not None and is_allowed_by(call, *_answer_to_preflight(headers)):
        return
    if reason:
        raise NotPermitted(reason)


def method_for_browsers() -> str:
    """Return the method of the current request, for the question whether another site may be behind it."""
    request = request_facts()
    is_handshake = request.environ.get(WEBSOCKET) or "websocket" in (request.header("Upgrade") or "").lower()
    return HANDSHAKE if is_handshake else request.method


def _answer_to_preflight(headers: list[tuple[bytes, bytes]]) -> tuple[int, list[tuple[bytes, bytes]]]:
    """Return status and headers of the app's own answer to a preflight about Flask's current request."""
    ask: Preflight | None = flask.request.environ.get(PREFLIGHT)
    if ask is not None:
        return ask(headers)
    environ = {
        name: value
        for name, value in flask.request.environ.items()
        if not name.startswith("HTTP_") and name not in ("CONTENT_TYPE", "CONTENT_LENGTH", "werkzeug.request")
    }
    environ |= {"REQUEST_METHOD": "OPTIONS", "HTTP_HOST": flask.request.host, "wsgi.input": BytesIO()}
    for name, value in headers:
        environ["HTTP_" + name.decode("ascii").upper().replace("-", "_")] = value.decode("latin-1")
    _, status, answered = run_wsgi_app(flask.current_app.wsgi_app, environ, buffered=True)
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answered]
    return int(status.partition(" ")[0]), raw


def _challenge_context() -> ChallengeContext:
    request = flask.request
    headers = ((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers)
    metadata_url: str = request.environ.get(METADATA_URL, "")
    try:
        authorization = request_authorization()
    except CompatAuthError:
        authorization = request.headers.get("Authorization")
    return ChallengeContext(is_bearer(authorization), metadata_url, caller_of(headers))


def _unlimited(identity: Identity, for_every_scope: bool) -> Identity:  # private, and named at its one use
    return replace(identity, scopes=None) if for_every_scope else identity


FROM_VIEWS: tuple[type[CompatAuthError], ...] = (RequestRefused, NoSuchUser, BackendUnavailable, NoActiveKey)
"""The errors of compat_auth that a view may let pass: the caller changes the request, or sends it again later."""


def render_refusal(
    error: CompatAuthError, style: ErrorStyle, challenges: Callable[[], tuple[str, ...]]
) -> flask.Response:
    """Return the answer to Flask's current request, whose view has raised one of `FROM_VIEWS`."""
    if error.status >= _FAULT:
        # The caller learns only when to come back.
        _log.warning("a view got no answer: %s", error)
    return send_rendered(style.render_error(error, challenges(), context=_challenge_context()))


def _refuse(wording: RenderedError, *, lead_in: Callable[[], flask.Response | None]) -> flask.Response:
    return (lead_in() if wording.status == HTTPStatus.UNAUTHORIZED else None) or send_rendered(wording)


def admit(
    authenticate: Callable[[Credential], Outcome],
    challenges: Callable[[], tuple[str, ...]],
    style: Callable[[], ErrorStyle] = ErrorStyle,
    *,
    requirements: Requirements = NOTHING_REQUIRED,
    for_every_scope: bool = False,
    lead_in: Callable[[], flask.Response | None] = lambda: None,
) -> Accept | flask.Response:
    """Return the Accept of Flask's current request, its identity signed in; or the refusal.

    Args:
        authenticate: See `guard_view`, as for all others.
        challenges: See there.
        style: See there.
        requirements: See there.
        for_every_scope: See there.
        lead_in: See there.
    """
    refuse = partial(_refuse, lead_in=lead_in)
    try:
        outcome = authenticate(_credential_of_request())
    except CompatAuthError as error:
        return refuse(style().render_error(error, challenges(), context=_challenge_context()))
    match outcome:
        case Accept(identity, used=used):
            try:
                _require_own_origin()
                require_permission(_unlimited(identity, for_every_scope), requirements)
                notices = _stage_headers(identity)
            except (NotPermitted, StageRefusal, BackendUnavailable) as error:
                return send_rendered(style().render_error(error, context=_challenge_context()))
            if used is not None:
                used()
            sign_in(identity)
            return replace(outcome, headers=(*outcome.headers, *notices)) if notices else outcome
        case Challenge(header):
            return send_rendered(style().render(401, (header,), context=_challenge_context()))
        case Reject(_, status, learnt):
            return refuse(style().render(status, learnt or challenges(), context=_challenge_context()))
        case Skip(learnt):
            return refuse(style().render(401, learnt or challenges(), context=_challenge_context()))


def decorator_of(
    guard: Callable[[View, Requirements], View],
    given: View | str | Iterable[str] | None,
    all_of: str | Iterable[str],
    any_of: str | Iterable[str],
) -> Any:
    """Return the decorator for what `require` was given, or the view that was given, guarded.

    Raises:
        ConfigError: A requirement is unknown, or what was given is none.
    """
    if isinstance(given, MethodType):
        # asfquart's requirements are methods of a class; taken for a view, one would leave the real view unguarded.
        raise ConfigError(f"requirement {given!r}: not a text, such as 'role:member'")
    if callable(given):
        return guard(given, NOTHING_REQUIRED)
    requirements = requirements_of((*listed(given or ()), *listed(all_of)), any_of)

    def decorate(view: View) -> View:
        return guard(view, requirements)

    return decorate


def guard_view(
    authenticate: Callable[[Credential], Outcome],
    challenges: Callable[[], tuple[str, ...]],
    view: View,
    style: Callable[[], ErrorStyle] = ErrorStyle,
    *,
    requirements: Requirements = NOTHING_REQUIRED,
    for_every_scope: bool = False,
    lead_in: Callable[[], flask.Response | None] = lambda: None,
) -> View:
    """Return the view, wrapped so that it runs only for an accepted credential, with the identity signed in.

    Args:
        authenticate: Verifies a credential.
        challenges: For a 401.
        view: The view to guard.
        style: How refusals look.
        requirements: Further requirements on the identity.
        for_every_scope: A limited credential may also use the view, whatever its limits are.
        lead_in: Returns the answer to a browser in place of a 401; None: the 401.
    """

    @wraps(view)
    @until_answered()
    def guarded(*args: Any, **kwargs: Any) -> Any:
        admitted = admit(
            authenticate,
            challenges,
            style,
            requirements=requirements,
            for_every_scope=for_every_scope,
            lead_in=lead_in,
        )
        if isinstance(admitted, flask.Response):
            return admitted
        response = flask.make_response(flask.current_app.ensure_sync(view)(*args, **kwargs))
        for name, value in admitted.headers:
            if name in SINGLE:
                response.headers.set(name, value)
            else:
                response.headers.add(name, value)
        return response

    return guarded

"""Personal tokens over HTTP: list, make, refresh, revoke; for a user who logs in, never for a token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import flask
from flask import Blueprint, Flask, Response, request
from pydantic import BaseModel

from compat_auth import audit
from compat_auth.api.schemas import CountedTokenView, MadeTokenView, days_of, read_new, read_refresh, view
from compat_auth.authn.judgement import Judgement
from compat_auth.client_certificates import can_see_certificates, shown_thumbprint
from compat_auth.config import Settings
from compat_auth.errors import (
    BadRequest,
    BodyTooLarge,
    CompatAuthError,
    InvalidToken,
    InvalidValue,
    MethodNotAllowed,
    NotPermitted,
)
from compat_auth.guard import current_identity, guard_view, send_rendered
from compat_auth.http.error_responses import ErrorStyle
from compat_auth.identity import Identity
from compat_auth.peer import request_peer
from compat_auth.personal_tokens.permissions import TokenPermissions
from compat_auth.personal_tokens.request import NO_CERTIFICATES, NewToken, PersonalTokenRequest, require_thumbprint
from compat_auth.personal_tokens.service import PersonalTokens, personal_tokens_of
from compat_auth.sessions import request_forgery

BLUEPRINT = "compat_auth_personal_tokens"
PATH = "api/personal-tokens"
"""Below the prefix; a token's id may follow."""
MAX_BODY_BYTES = 16384
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

Answer = Callable[[Identity, str], Response]


def register_token_api(app: Flask, settings: Settings, judgement: Judgement, style: ErrorStyle) -> None:
    """Serve the endpoints in the app if it has personal tokens; calling it twice is harmless.

    Raises:
        ConfigError: `[personal_tokens] admins` has an unknown requirement.
    """
    tokens = personal_tokens_of(app)
    if tokens is not None and BLUEPRINT not in app.blueprints:
        api = _TokenApi(tokens, TokenPermissions.from_settings(tokens, settings), style, settings)
        app.register_blueprint(api.blueprint(judgement), url_prefix=settings.prefix.rstrip("/"))


class _TokenApi:
    def __init__(self, tokens: PersonalTokens, access: TokenPermissions, style: ErrorStyle, settings: Settings) -> None:
        self._settings = settings
        self._tokens = tokens
        self._access = access
        self._style = style
        self._of_all: dict[str, Answer] = {"GET": self._list, "POST": self._create}
        self._of_one: dict[str, Answer] = {"GET": self._show, "PATCH": self._refresh, "DELETE": self._revoke}

    def blueprint(self, judgement: Judgement) -> Blueprint:
        """Return the endpoints, behind the chain."""
        made = Blueprint(BLUEPRINT, __name__, static_folder=None)
        for rule, answers in ((f"/{PATH}", self._of_all), (f"/{PATH}/<path:token_id>", self._of_one)):
            guarded = guard_view(judgement.judge, judgement.chain.challenges, self._view(answers), lambda: self._style)
            made.add_url_rule(rule, rule, guarded, methods=_METHODS, provide_automatic_options=False)
        made.after_request(_no_store)
        made.register_error_handler(CompatAuthError, cast("Any", self._show_error))
        return made

    def _view(self, answers: dict[str, Answer]) -> Callable[..., Response]:
        def answer(token_id: str = "") -> Response:
            identity = current_identity
            self._access.require_manager(identity)
            # Browsers send more than cookies by themselves: passwords and tickets, too.
            if forgery := request_forgery(None):
                raise NotPermitted(forgery)
            method = "GET" if request.method == "HEAD" else request.method
            if method not in answers:
                raise MethodNotAllowed(f"{method}: not here; these are: {', '.join(answers)}")
            return answers[method](identity, token_id)

        return answer

    def _list(self, identity: Identity, _token_id: str) -> Response:
        wanted = request.args.get("username")
        if request.args.keys() - {"username", "all"}:
            raise BadRequest("query: only username, or all=true")
        if request.args.get("all") == "true":
            if not self._access.is_admin(identity):
                raise NotPermitted("everybody's tokens are not yours to see")
            wanted = None
        elif wanted is None:
            wanted = identity.username
        elif wanted != identity.username and not (
            self._access.is_role_of(identity, wanted) or self._access.is_admin(identity)
        ):
            raise NotPermitted("tokens of others are not yours to see")
        now = self._tokens.now()
        found = [view(token, now).model_dump(mode="json") for token in self._tokens.list(wanted)]
        return flask.make_response({"personal_tokens": found})

    def _create(self, identity: Identity, _token_id: str) -> Response:
        body = read_new(_body())
        owner = body.username or identity.username
        is_role = self._access.require_owner(identity, owner)
        days = days_of(body, self._tokens.now())
        certificate = self._certificate(body.certificate)
        wanted = PersonalTokenRequest(body.name, tuple(body.scopes), days, certificate, within=identity.scopes)
        made = self._tokens.create(owner, wanted, by=identity.username, is_role=is_role)
        _record("token created", identity, made.token.id)
        return self._made(made, 201)

    def _certificate(self, wanted: str | None) -> str:
        """Return the `x5t#S256` to which a new token is to be bound; "" for none.

        Raises:
            InvalidValue: No certificate can be seen here, or the request shows none.
        """
        if wanted is None:
            return ""
        if not can_see_certificates(self._settings):
            raise InvalidValue(f"certificate: {NO_CERTIFICATES}")
        if wanted != "shown":
            require_thumbprint(wanted)
            return wanted
        try:
            shown = shown_thumbprint(self._settings.client_certificate, request_peer())
        except InvalidToken as error:
            raise InvalidValue(f"certificate: {error}") from None
        if not shown:
            raise InvalidValue("certificate: this request shows none; show it in TLS, or write its x5t#S256")
        return shown

    def _show(self, identity: Identity, token_id: str) -> Response:
        token = self._access.find(identity, token_id, to_revoke=True)
        shown = view(token, self._tokens.now())
        content = CountedTokenView(**shown.model_dump(), uses=self._tokens.usage.by_day(token.id))
        return flask.make_response(content.model_dump(mode="json"))

    def _refresh(self, identity: Identity, token_id: str) -> Response:
        token = self._access.find(identity, token_id)
        body = read_refresh(_body())
        days = days_of(body, self._tokens.now())
        made = self._tokens.refresh(token, days=days, overlap_s=body.overlap_s, within=identity.scopes)
        _record("token refreshed", identity, token.id)
        return self._made(made, 200)

    def _revoke(self, identity: Identity, token_id: str) -> Response:
        token = self._access.find(identity, token_id, to_revoke=True)
        self._tokens.revoke(token, reason="revoked")
        _record("token revoked", identity, token.id)
        return flask.make_response("", 204)

    def _made(self, made: NewToken, status: int) -> Response:
        shown = view(made.token, self._tokens.now())
        content: BaseModel = MadeTokenView(**shown.model_dump(), token=made.text)
        answer = flask.make_response(content.model_dump(mode="json"), status)
        if status == 201:
            answer.headers["Location"] = f"{request.path}/{made.token.id}"
            answer.autocorrect_location_header = False
        return answer

    def _show_error(self, error: CompatAuthError) -> Response:
        return send_rendered(self._style.render_error(error))


def _body() -> bytes:
    """Return the request's body.

    Raises:
        BadRequest: Its Content-Type is not JSON: a form of another site cannot send JSON.
        BodyTooLarge: It is larger than 16 KiB.
    """
    raw = request.stream.read(MAX_BODY_BYTES + 1)
    if len(raw) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"body: larger than {MAX_BODY_BYTES} bytes")
    if raw and request.mimetype != "application/json":
        raise BadRequest("body: send it as application/json")
    return raw


def _record(result: str, identity: Identity, token_id: str) -> None:
    client = request.remote_addr or ""
    audit.record(
        audit.AuditEvent(result, identity.backend, identity.username, token_id, request.method, request.path, client)
    )


def _no_store(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response

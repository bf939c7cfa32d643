"""JWTs of an app's own: `/auth/token` and the public keys, in a Flask app that has no gate in front of it."""

from __future__ import annotations

import json
from collections.abc import Callable

import flask
from flask import Blueprint, Flask, Response, request

from compat_auth import audit
from compat_auth.api.oauth.token_credential import basic_value
from compat_auth.api.oauth.token_request import MAX_BODY_BYTES, Ask, Login, parse_token_request
from compat_auth.authn.judgement import Judgement
from compat_auth.authn.users.lookup import UserLookup
from compat_auth.config import Settings
from compat_auth.credentials import Absent
from compat_auth.errors import (
    AmbiguousCredentials,
    BodyTooLarge,
    CompatAuthError,
    ConfigError,
    InsufficientScope,
    MethodNotAllowed,
    TokenRequestRefused,
)
from compat_auth.gateway.health import JWKS_PATH
from compat_auth.guard import View, current_identity, guard_view, request_authorization, send_rendered
from compat_auth.http.error_responses import ErrorStyle
from compat_auth.identity import Identity, Token
from compat_auth.scopes import ALL
from compat_auth.tokens.strategies import Strategy, build_strategy, public_keys

BLUEPRINT = "compat_auth_token_issue"
TOKEN_PATH = "/auth/token"  # noqa: S105  # a path
PATHS = frozenset((TOKEN_PATH, JWKS_PATH))


class Mint:
    """Makes the JWTs of an app. Any thread may use it.

    Args:
        strategy: Signs.
        lookup: Completes identities.
        publish: Returns the public keys, as JSON.

    Attributes:
        publish: As given.
    """

    def __init__(self, strategy: Strategy, lookup: UserLookup, publish: Callable[[], bytes]) -> None:
        self._strategy = strategy
        self._lookup = lookup
        self.publish = publish

    @classmethod
    def from_settings(cls, settings: Settings) -> Mint:
        """Return the mint that `[token]` describes.

        Raises:
            ConfigError: The strategy signs none, a key is missing, or the profile's `sub` cannot be known.
        """
        if settings.token.strategy not in ("shared_secret", "key_pair"):
            raise ConfigError(
                f"token.strategy: {settings.token.strategy} signs no token in an app of your own; set key_pair, and "
                "key_file, or shared_secret, and secret"
            )
        lookup = UserLookup.from_settings(settings)
        if settings.upstream.profile == "airflow-fab" and not lookup.finds_keys:
            raise ConfigError(
                "upstream.profile: airflow-fab names users by their number in Airflow's database; for APIs of your own "
                'set "generic"'
            )
        return cls(build_strategy(settings), lookup, public_keys(settings))

    def mint(self, identity: Identity, *, method: str = "", path: str = "", client: str = "") -> Token:
        """Return a new token for an identity, with a line in the audit log; it ends with its credential at the latest.

        Args:
            identity: As the chain vouches.
            method: Of the request that is at hand, if any.
            path: Of that request.
            client: Address of the client.

        Raises:
            InsufficientScope: The credential is limited, and the token would not be.
            NoSuchUser, NotAuthenticated, NotPermitted: The token would speak for nobody.
            BackendUnavailable, NoActiveKey: There is none at present.
        """
        is_limited = identity.scopes is not None and not any(str(scope) == ALL for scope in identity.scopes)
        if is_limited or identity.app_scopes:
            raise InsufficientScope("the credential is limited, and a token would not be", ALL)
        token = self._strategy.issue(self._lookup.complete(identity), Absent(), "token")
        audit.record(audit.AuditEvent("issue", identity.backend, identity.username, "", method, path, client))
        return token


def mint_of(app: Flask | None) -> Mint:
    """Return the maker of an app's JWTs.

    Raises:
        ConfigError: The app issues none.
    """
    mint: Mint | None = None if app is None else app.extensions.get(BLUEPRINT)
    if mint is None:
        raise ConfigError("mint_token: this app issues no tokens; create CompatAuth(app, issues_tokens=True)")
    return mint


def register_token_issue(app: Flask, mint: Mint, judgement: Judgement, style: ErrorStyle) -> None:
    """Serve `/auth/token` and the public keys in the app; calling it twice is harmless."""
    if BLUEPRINT in app.blueprints:
        return
    app.extensions[BLUEPRINT] = mint
    made = Blueprint(BLUEPRINT, __name__, static_folder=None)

    def issue() -> Response:
        identity: Identity = current_identity
        token = mint.mint(identity, method=request.method, path=request.path, client=request.remote_addr or "")
        return flask.make_response({"access_token": token.value}, 201)

    def show_keys() -> Response:
        headers = {"Content-Type": "application/jwk-set+json", "Cache-Control": "public, max-age=300"}
        return flask.make_response(mint.publish(), headers)

    def show_error(error: CompatAuthError) -> Response:
        if isinstance(error, TokenRequestRefused):
            content = json.dumps({"error": error.code, "error_description": str(error)})
            return flask.make_response(content, 400, {"Content-Type": "application/json"})
        return send_rendered(style.render_error(error, judgement.chain.challenges()))

    # Whatever its limits are, a credential may ask; a limited one gets no token.
    guarded = guard_view(judgement.judge, judgement.chain.challenges, issue, lambda: style, for_every_scope=True)
    made.add_url_rule(TOKEN_PATH, "token", _token_view(guarded), methods=["GET", "POST"])
    made.add_url_rule(JWKS_PATH, "jwks", show_keys, methods=["GET"])
    made.register_error_handler(CompatAuthError, show_error)
    made.after_request(_no_store)
    app.register_blueprint(made)


def _token_view(guarded: View) -> View:
    def answer() -> Response:
        if request.method != "POST":
            if request_authorization() is None:
                # Safe: a cookie alone makes nobody a caller here.
                raise MethodNotAllowed("without Authorization, ask for a token by POST")
            return _made(guarded)
        body = request.stream.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"body: larger than {MAX_BODY_BYTES} bytes")
        wanted = parse_token_request(request.headers.get("Content-Type", ""), body)
        match wanted:
            case Ask():
                return _made(guarded)
            case Login():
                return _log_in(wanted, guarded)
            case _:
                raise TokenRequestRefused(
                    "unsupported_grant_type", "grant_type: show a credential, or a user and password"
                )

    return answer


def _log_in(login: Login, guarded: View) -> Response:
    if request_authorization() is not None:
        raise AmbiguousCredentials("a credential in the body and one in Authorization; send one")
    environ = {key: value for key, value in request.environ.items() if key not in ("HTTP_COOKIE", "werkzeug.request")}
    environ["HTTP_AUTHORIZATION"] = basic_value(login)
    with flask.current_app.app_context(), flask.current_app.request_context(environ):
        return _made(guarded)


def _made(guarded: View) -> Response:
    return flask.make_response(guarded())


def _no_store(response: Response) -> Response:
    if response.status_code != 200:
        response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response

"""The chain in any Flask app: `CompatAuth(app)`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast, overload

import flask
from flask import Flask

from compat_auth import sessions
from compat_auth.api.leak_receiver import register_leak_receiver
from compat_auth.api.personal_tokens import register_token_api
from compat_auth.api.token_issue import PATHS as ISSUE_PATHS
from compat_auth.api.token_issue import Mint, mint_of, register_token_issue
from compat_auth.api.whoami import register_whoami
from compat_auth.authn.airflow2.module import app_settings
from compat_auth.authn.chain import Chain
from compat_auth.authn.judgement import Judgement, judgement_of, set_judgement
from compat_auth.authn.registry import load_chain
from compat_auth.authn.revocation_events import revocation_events_of
from compat_auth.authn.users.logins import NoLogins
from compat_auth.authn.users.role_accounts import RoleAccountNames
from compat_auth.config import Settings
from compat_auth.credentials import Credential
from compat_auth.errors import CompatAuthError, ConfigError
from compat_auth.guard import (
    FROM_VIEWS,
    View,
    accept_api_key,
    current_identity,
    decorator_of,
    guard_view,
    plain_identity,
    render_refusal,
)
from compat_auth.http.error_responses import ErrorStyle
from compat_auth.http.header_values import shield_cookies
from compat_auth.http.headers import api_key_name
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Outcome
from compat_auth.requirements import NOTHING_REQUIRED, Requirements
from compat_auth.stages.enforcement import Stages
from compat_auth.stages.of_app import set_stages
from compat_auth.web.page import lead_to_login
from compat_auth.web.site import BLUEPRINT, register_pages

__all__ = ["CompatAuth", "current_identity", "require", "requires_authentication"]


class CompatAuth:
    """Guards views of a Flask app with the configured chain.

    The app keeps its own sessions and error handlers: only a decorated view is guarded, and nothing is
    stored in the session. `RequestRefused`, `NoSuchUser`, `BackendUnavailable` and `NoActiveKey` that a view
    lets pass, such as those of `mint_token`, are answered with their status, unless the app has handlers for them.

    Args:
        app: The app, or None to call `init_app` later.
        settings: What to build; None means `app.config["COMPAT_AUTH"]`, else the file and the environment.
        is_behind_gate: Our gate runs in front of the app and says itself who the caller is.
        issues_tokens: Callers get JWTs for APIs of your own, by `[token]`: `/auth/token` gives one for any credential that
            the chain accepts, `/.well-known/jwks.json` publishes the keys, and `mint_token` makes one.

    Attributes:
        paths: Of our pages outside the prefix, once `init_app` has run.
        chain: The backends, once `init_app` has run.
        style: How refusals look, once `init_app` has run.
    """

    chain: Chain
    style: ErrorStyle
    paths: frozenset[str] = frozenset()

    def __init__(
        self,
        app: Flask | None = None,
        settings: Settings | None = None,
        *,
        is_behind_gate: bool = False,
        issues_tokens: bool = False,
    ) -> None:
        self._settings = settings
        self._is_behind_gate = is_behind_gate
        self._issues_tokens = issues_tokens
        self._app: Flask | None = None
        self._login_prefix: str | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Load the chain and make every backend ready for the app.

        Raises:
            ConfigError: A backend is missing or misconfigured, or this is no Flask app.
        """
        if not isinstance(cast("object", app), Flask):
            raise ConfigError(
                f"CompatAuth: {type(app).__module__}.{type(app).__qualname__} is no Flask app; for Quart, Starlette and "
                "FastAPI import CompatAuth and require from compat_auth.asgi"
            )
        settings = self._settings or app_settings(app)
        if not self._is_behind_gate:
            _refuse_rules_of_gates(settings)
            settings = with_handler_on(app, settings)
        if getattr(app, "login_manager", None) is None:
            NoLogins(app)
        self.style = style_of(settings)
        revocation_events_of(app, settings)
        self.chain = Chain(
            load_chain(settings), settings.mode, reserves=RoleAccountNames.from_settings(settings).reserves
        )
        set_stages(app, Stages.from_settings(settings, self.chain.backends))
        for backend in self.chain.backends:
            backend.init_app(app)
        sessions.init_app(app, settings)
        register_pages(app, settings, self.chain)
        judgement = Judgement(
            self.chain,
            revocation_events_of(app, settings),
            entries=settings.serve.cache_entries,
            peer_headers=settings.client_certificate.headers,
        )
        set_judgement(app, judgement)
        register_token_api(app, settings, judgement, self.style)
        register_leak_receiver(app, settings)
        if self._issues_tokens:
            self.paths = ISSUE_PATHS
            register_token_issue(app, Mint.from_settings(settings), judgement, self.style)
        if not self._is_behind_gate:
            register_whoami(app, settings.prefix, judgement, self.style)
            if BLUEPRINT in app.blueprints and self._leads_in(settings):
                self._login_prefix = settings.prefix
            for error in FROM_VIEWS:
                if error not in app.error_handler_spec[None][None]:
                    app.register_error_handler(error, self._refuse)
        shield_cookies(app)
        accept_api_key(app, api_key_name(settings.personal_tokens.header))
        app.extensions["compat_auth"] = self
        self._app = app

    def mint_token(self, identity: Identity) -> Token:
        """Return a new JWT that speaks for an identity, as `/auth/token` gives it; it ends with its credential at the latest.

        Raises:
            ConfigError: The app issues no tokens.
            InsufficientScope: The credential is limited, and the token would not be.
            NoSuchUser, NotAuthenticated, NotPermitted: The token would speak for nobody.
            BackendUnavailable, NoActiveKey: There is none at present.
        """
        mint, found = mint_of(self._app), plain_identity(identity)
        if not flask.has_request_context():
            return mint.mint(found)
        request = flask.request
        return mint.mint(found, method=request.method, path=request.path, client=request.remote_addr or "")

    def lead_in(self) -> flask.Response | None:
        """Return the answer to a browser that opens a page without a login; None: the 401 that a program gets."""
        return None if self._login_prefix is None else lead_to_login(self._login_prefix)

    def _refuse(self, error: CompatAuthError) -> flask.Response:
        return render_refusal(error, self.style, self.chain.challenges)

    def _leads_in(self, settings: Settings) -> bool:
        if settings.session.login:
            return settings.session.login == "ours"
        # A ticket is shown in answer to the challenge of a 401, and Airflow 2 had no other answer.
        has_tickets = any(challenge.lower().startswith("negotiate") for challenge in self.chain.challenges())
        return settings.mode == "strict" and not has_tickets


def style_of(settings: Settings) -> ErrorStyle:
    """Return how refusals look under these settings."""
    return ErrorStyle(settings.mode, bool(settings.airflow2.auth_role_public))


def with_handler_on(app: Flask, settings: Settings) -> Settings:
    """Return the settings for an app of the site's own: its token handler may be set on the app at any time."""
    if not hasattr(app, "token_handler"):
        cast("Any", app).token_handler = None
    if settings.token_handler.handler:
        return settings
    section = settings.token_handler.model_copy(update={"handler": "current_app:token_handler"})
    return settings.model_copy(update={"token_handler": section})


def _refuse_rules_of_gates(settings: Settings) -> None:
    """Raise for rules that only a gate applies: an app would ignore them without a word.

    Raises:
        ConfigError: There are such rules.
    """
    for section, given, instead in (
        ("[[do_as]]", settings.do_as, "put the gateway in front of the app"),
        ("[[require]]", settings.require, "decorate the views, such as @require(any_of=['role:Admin'])"),
    ):
        if given:
            raise ConfigError(
                f"{section}: only the gateway, forward-auth and Airflow's plugin apply it; remove it and {instead}"
            )


def requires_authentication(view: View) -> View:
    """Return the view, guarded by the chain of the app that it runs in."""
    return _guarded(view, NOTHING_REQUIRED)


@overload
def require(given: View, /) -> View: ...


@overload
def require(
    given: str | Iterable[str] | None = None,
    /,
    *,
    all_of: str | Iterable[str] = (),
    any_of: str | Iterable[str] = (),
) -> Callable[[View], View]: ...


def require(
    given: View | str | Iterable[str] | None = None,
    /,
    *,
    all_of: str | Iterable[str] = (),
    any_of: str | Iterable[str] = (),
) -> Any:
    """Return a decorator for a view, sync or async, that has more requirements than a known caller.

    Nobody, or a wrong credential, is 401; somebody who does not meet the requirements is 403.

    Args:
        given: The view itself, where nothing more is asked (`@require`); or what `all_of` says.
        all_of: All of these must hold: `role:NAME`, `group:NAME`, `backend:NAME`, `directory:NAME`, `user:NAME`,
            `scope:WORD`, `mfa`, `role_account`. A single text is a list of one.
        any_of: At least one of these must hold, unless it is empty.

    Raises:
        ConfigError: A requirement is unknown; raised where the view is decorated, not when it is called.
    """
    return decorator_of(_guarded, given, all_of, any_of)


def _guarded(view: View, requirements: Requirements) -> View:

    def authenticate(credential: Credential) -> Outcome:
        return judgement_of(flask.current_app).judge(credential)

    def challenges() -> tuple[str, ...]:
        return _current().chain.challenges()

    def style() -> ErrorStyle:
        return _current().style

    def lead_in() -> flask.Response | None:
        return _current().lead_in()

    return guard_view(authenticate, challenges, view, style, requirements=requirements, lead_in=lead_in)


def _current() -> CompatAuth:
    extension: CompatAuth = flask.current_app.extensions["compat_auth"]
    return extension

"""The Flask blueprint with all pages for browsers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import flask
from flask import Blueprint, Flask, Response

from compat_auth import sessions
from compat_auth.authn.chain import Chain
from compat_auth.authn.session_cookie import SessionCookie
from compat_auth.authn.session_registry import LiveSessions, live_sessions_of
from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable, CompatAuthError, ConfigError
from compat_auth.personal_tokens.permissions import TokenPermissions
from compat_auth.personal_tokens.service import PersonalTokens, personal_tokens_of
from compat_auth.sign_in import NAME_PATTERN
from compat_auth.web.admin.administrators import Administrators
from compat_auth.web.admin.token_admin import TokenAdminPages
from compat_auth.web.appearance.error_page import waiting_step, words_for
from compat_auth.web.appearance.logo import Logo
from compat_auth.web.appearance.look import LOGO, Look
from compat_auth.web.appearance.navigation import Entry, entries_for
from compat_auth.web.forms import FormToken
from compat_auth.web.login import LoginPage
from compat_auth.web.login_completion import LoginCompletion, UpstreamCookie
from compat_auth.web.logout import LogoutPage, show_session
from compat_auth.web.page import (
    COPY_SCRIPT,
    COPY_SCRIPT_FILE,
    STYLE,
    STYLE_FILE,
    Account,
    here,
    protect,
    record,
    render_page,
)
from compat_auth.web.report.access import ReportAccess
from compat_auth.web.report.page import ReportPage
from compat_auth.web.session_page import SessionPage
from compat_auth.web.sign_in import SignInPages
from compat_auth.web.sign_in_state import AttemptCookie
from compat_auth.web.start_page import StartPage
from compat_auth.web.token_pages import TokenPages, shown_day, shown_time

BLUEPRINT = "compat_auth_web"
_PATHS = "compat_auth_web_paths"
_DOCS = "compat_auth_web_docs"
_OF_LOGIN = (f"{BLUEPRINT}.login", f"{BLUEPRINT}.sign-in")
_FORM = "_form"
_ATTEMPT = "_attempt"
COOKIE_ENDS = (_FORM, _ATTEMPT)
"""Suffixes of the names of our other cookies."""


def register_pages(app: Flask, settings: Settings, chain: Chain) -> None:
    """Serve the pages in the app if `[session]` has a secret; a second call changes nothing.

    Raises:
        ConfigError: Two ways to log in have the same name, or a name is invalid; `[personal_tokens] admins` or `[usage]
            admins` has an unknown requirement.
    """
    live = live_sessions_of(app)
    if live is None or BLUEPRINT in app.blueprints:
        return
    site = _Site(settings, chain, live, personal_tokens_of(app))
    app.register_blueprint(site.blueprint, url_prefix=settings.prefix.rstrip("/"))
    app.extensions[_PATHS] = site.paths


def page_paths(app: Flask) -> tuple[str, ...]:
    """Return the paths of the pages that the app serves, below the prefix."""
    return cast("tuple[str, ...]", app.extensions.get(_PATHS, ()))


def link_docs(app: Flask) -> None:
    """Link from the account's pages to the documentation of our API, which another module serves."""
    app.extensions[_DOCS] = True


def own_cookie_names(cookie: SessionCookie) -> tuple[str, ...]:
    """Return the names of all cookies that the pages set."""
    return tuple(f"{name}{end}" for name in cookie.names for end in ("", *COOKIE_ENDS))


Route = tuple[str, str, Callable[[], Response]]
"""Path below the prefix, method, and view of a page."""


class _Site:
    def __init__(self, settings: Settings, chain: Chain, live: LiveSessions, tokens: PersonalTokens | None) -> None:
        upstream_cookie, cookie = UpstreamCookie(settings), settings.session.cookie_name
        completion, attempts = LoginCompletion(chain, upstream_cookie), AttemptCookie(settings, f"{cookie}{_ATTEMPT}")
        ways = [SignInPages(offered, settings.prefix, attempts, completion) for offered in chain.sign_ins()]
        _require_own_names(ways)
        buttons = tuple((way.path, way.label) for way in ways)
        form_token = FormToken(f"{cookie}{_FORM}")
        self._look = look = Look.from_settings(settings)
        self._login = LoginPage(chain, form_token, completion, buttons, workers=settings.serve.workers)
        logout = LogoutPage(f"{settings.prefix}logout", upstream_cookie)
        account = Account(settings.prefix)
        self._report_access = report_access = ReportAccess.from_settings(chain, settings)
        session_page = SessionPage(live, account, settings.prefix)
        access = None if tokens is None else TokenPermissions.from_settings(tokens, settings)
        self._admins = Administrators(chain, access)
        token_routes: tuple[Route, ...] = ()
        if tokens is not None and access is not None:
            token_routes = _token_pages(tokens, access, account, settings).routes()
            if access.has_admins:
                token_routes += TokenAdminPages(tokens, access, self._admins, account, settings.prefix).routes()
        self.blueprint = Blueprint(BLUEPRINT, __name__, template_folder="templates", static_folder=None)
        routes = (
            ("login", "GET", self._login.show),
            ("login", "POST", self._login.log_in),
            ("logout", "GET", logout.show),
            ("logout", "POST", logout.log_out),
            ("session", "GET", show_session),
            (STYLE, "GET", _static(STYLE_FILE, "text/css")),
            (COPY_SCRIPT, "GET", _static(COPY_SCRIPT_FILE, "text/javascript")),
            *([(LOGO, "GET", _logo(look.logo))] if look.logo is not None else []),
            *StartPage(account, settings.prefix).routes(),
            *session_page.routes(),
            *ReportPage(account, report_access).routes(),
            *token_routes,
            *(route for way in ways for route in way.routes()),
        )
        for path, method, view in routes:
            # Flask reserves the dot in the name of an endpoint.
            endpoint = f"{path}_{method}".replace(".", "_")
            self.blueprint.add_url_rule(f"/{path}", endpoint, view, methods=[method])
        self.paths = tuple(dict.fromkeys(path for path, _, _ in routes))
        shared = {
            "has_tokens": tokens is not None,
            "has_docs": _has_docs,
            "navigation": self._navigation,
            **look.values(),
            "shown_day": shown_day,
            "shown_time": shown_time,
        }
        self.blueprint.context_processor(lambda: {**shared, "prefix": here(settings.prefix), "home": here("/")})
        self.blueprint.after_request(self._protect)
        self.blueprint.register_error_handler(CompatAuthError, cast("Any", self._show_error))

    def _navigation(self) -> tuple[Entry, ...]:
        served = {*self.paths, *(("docs",) if _has_docs() else ())}
        if not self._may_report():
            served.discard("report")
        session = sessions.current_session()
        return entries_for(served, is_admin=session is not None and self._admins.includes(session))

    def _may_report(self) -> bool:
        try:
            return self._report_access.may_read()
        except BackendUnavailable:
            # Only the link is missing: the page itself says what is wrong.
            return False

    def _protect(self, response: Response) -> Response:
        protect(response)
        if self._look.logo is not None:
            response.headers["Content-Security-Policy"] += "; img-src 'self'"
        return response

    def _show_error(self, error: CompatAuthError) -> Response:
        if isinstance(error, ConfigError):
            raise error
        answer = self._answer(error)
        if isinstance(error, BackendUnavailable):
            answer.headers["Retry-After"] = str(error.retry_after_s)
        record("unavailable", "", str(error))
        return answer

    def _answer(self, error: CompatAuthError) -> Response:
        if (flask.request.endpoint or "").startswith(_OF_LOGIN):
            message = "You cannot log in at the moment. Please try again later."
            return self._login.render(error.status, here("/"), message)
        words = words_for(error.status)
        return render_page(
            "error.html",
            error.status,
            heading=words.heading,
            why=words.why,
            step=words.step or waiting_step(error.retry_after_s),
            links=[(here("/"), f"Back to {self._look.upstream}")],
        )


def _has_docs() -> bool:
    return _DOCS in flask.current_app.extensions


def _static(file: Path, media_type: str) -> Callable[[], Response]:
    content = file.read_text(encoding="utf-8")
    return lambda: flask.make_response(content, {"Content-Type": f"{media_type}; charset=utf-8"})


def _logo(logo: Logo) -> Callable[[], Response]:
    headers = {"Content-Type": logo.media_type, "Cache-Control": "private, max-age=3600"}
    return lambda: flask.make_response(logo.content, headers)


def _token_pages(tokens: PersonalTokens, access: TokenPermissions, account: Account, settings: Settings) -> TokenPages:
    tried = f"{settings.prefix}whoami" if settings.upstream.profile == "generic" else "/api/v2/dags?limit=1"
    return TokenPages(tokens, access, account, settings.prefix, tried)


def _require_own_names(ways: list[SignInPages]) -> None:
    names: set[str] = set()
    for way in ways:
        if not re.fullmatch(NAME_PATTERN, way.name):
            raise ConfigError(f"sign-in {way.name!r}: not a valid name for a path; use up to 32 of a-z, 0-9 and -")
        if way.name in names:
            raise ConfigError(f"sign-in: two backends have the name {way.name!r}; rename one of them")
        names.add(way.name)

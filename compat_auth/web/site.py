"""All pages for browsers, joined to one blueprint."""

from __future__ import annotations

from typing import Any, cast

import flask
from flask import Blueprint, Flask, Response

from compat_auth.chain import Chain
from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable, CompatAuthError, ConfigError
from compat_auth.live_sessions import live_sessions_of
from compat_auth.session_cookie import SessionCookie
from compat_auth.web.form_token import FormToken
from compat_auth.web.hand_off import UpstreamCookie
from compat_auth.web.login import LoginPage
from compat_auth.web.logout import LogoutPage, show_session
from compat_auth.web.page import STYLE, STYLE_FILE, protect, record

BLUEPRINT = "compat_auth_web"
_PATHS = "compat_auth_web_paths"


def register_pages(app: Flask, settings: Settings, chain: Chain) -> None:
    """Serve the pages in the app, where `[session]` has a secret; calling it twice is harmless."""
    if live_sessions_of(app) is None or BLUEPRINT in app.blueprints:
        return
    site = _Site(settings, chain)
    app.register_blueprint(site.blueprint, url_prefix=settings.prefix.rstrip("/"))
    app.extensions[_PATHS] = site.paths


def page_paths(app: Flask) -> tuple[str, ...]:
    """Return the paths of the pages that the app serves, below the prefix."""
    return cast("tuple[str, ...]", app.extensions.get(_PATHS, ()))


def own_cookie_names(cookie: SessionCookie) -> tuple[str, ...]:
    """Return the names of all cookies that the pages set of their own."""
    return (*cookie.names, *(f"{name}_form" for name in cookie.names))


class _Site:
    def __init__(self, settings: Settings, chain: Chain) -> None:
        upstream_cookie = UpstreamCookie(settings)
        self._login = LoginPage(chain, FormToken(f"{settings.session.cookie_name}_form"), upstream_cookie)
        logout = LogoutPage(f"{settings.prefix}logout", upstream_cookie)
        self._style = STYLE_FILE.read_text(encoding="utf-8")
        self.blueprint = Blueprint(BLUEPRINT, __name__, template_folder="templates", static_folder=None)
        routes = (
            ("login", "GET", self._login.show),
            ("login", "POST", self._login.log_in),
            ("logout", "GET", logout.show),
            ("logout", "POST", logout.log_out),
            ("session", "GET", show_session),
            (STYLE, "GET", self._show_style),
        )
        for path, method, view in routes:
            # A dot in the name of an endpoint is Flask's.
            endpoint = f"{path}_{method}".replace(".", "_")
            self.blueprint.add_url_rule(f"/{path}", endpoint, view, methods=[method])
        self.paths = tuple(dict.fromkeys(path for path, _, _ in routes))
        self.blueprint.context_processor(lambda: {"prefix": settings.prefix})
        self.blueprint.after_request(protect)
        self.blueprint.register_error_handler(CompatAuthError, cast("Any", self._show_error))

    def _show_style(self) -> Response:
        return flask.make_response(self._style, {"Content-Type": "text/css; charset=utf-8"})

    def _show_error(self, error: CompatAuthError) -> Response:
        if isinstance(error, ConfigError):
            raise error
        answer = self._login.render(
            error.status, "/", "Logging in is not possible at the moment. Please try again later."
        )
        if isinstance(error, BackendUnavailable):
            answer.headers["Retry-After"] = str(error.retry_after_s)
        record("unavailable", "", str(error))
        return answer

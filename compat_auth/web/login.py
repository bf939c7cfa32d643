"""Login and logout for browsers: a form, checked by the same backends as HTTP Basic, and a sealed session cookie."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from typing import Any, cast

import flask
from flask import Blueprint, Flask, Response, render_template, request

from compat_auth import audit, sessions
from compat_auth.chain import Chain
from compat_auth.config import Settings
from compat_auth.credentials import Basic
from compat_auth.csrf import SAFE_METHODS, Source, find_forgery, is_same_token
from compat_auth.errors import BackendUnavailable, CompatAuthError, ConfigError
from compat_auth.identity import Identity, Token
from compat_auth.live_sessions import live_sessions_of
from compat_auth.outcome import Accept
from compat_auth.safe_next import safe_next
from compat_auth.session_cookie import SessionCookie, new_secret
from compat_auth.web.attempts import LoginAttempts

BLUEPRINT = "compat_auth_web"
PAGES = ("login", "logout", "session", "login.css")
"""Paths below the prefix."""
MAX_FORM_BYTES = 16384
_MAX_NAME = 512
_MAX_PASSWORD = 4096
_HAND_OFF = "compat_auth_hand_off"
# A token that is about to end must not outlive itself in the browser.
_TOKEN_MARGIN_S = 10
_TOKEN_MAX_AGE_S = 2592000
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with that, browsers send `Origin: null` for a form.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

HandOff = Callable[[Identity, Basic, Token | None], Token]


def register_pages(app: Flask, settings: Settings, chain: Chain) -> None:
    """Serve the pages in the app, where `[session]` has a secret; calling it twice is harmless."""
    if live_sessions_of(app) is not None and BLUEPRINT not in app.blueprints:
        app.register_blueprint(_LoginPages(settings, chain).blueprint, url_prefix=settings.prefix.rstrip("/"))


def set_hand_off(app: Flask, hand_off: HandOff) -> None:
    """Let a login also give the browser the upstream's own login cookie, made from this token."""
    app.extensions[_HAND_OFF] = hand_off


def own_cookie_names(cookie: SessionCookie) -> tuple[str, ...]:
    """Return the names of all cookies that the pages set of their own."""
    return (*cookie.names, *(f"{name}_form" for name in cookie.names))


class _LoginPages:
    def __init__(self, settings: Settings, chain: Chain) -> None:
        self._chain = chain
        self._attempts = LoginAttempts()
        self._prefix = settings.prefix
        airflow = settings.upstream.profile != "generic"
        # Airflow 3 takes the first of these for an identity by itself: `_token`.
        self._token_cookie = next(iter(settings.upstream.identity_cookies), "") if airflow else ""
        self._form_cookie = f"{settings.session.cookie_name}_form"
        self.blueprint = Blueprint(BLUEPRINT, __name__, template_folder="templates", static_folder=None)
        for rule, view, methods in (
            ("/login", self._show_login, ["GET"]),
            ("/login", self._log_in, ["POST"]),
            ("/logout", self._show_logout, ["GET"]),
            ("/logout", self._log_out, ["POST"]),
            ("/session", self._show_session, ["GET"]),
            ("/login.css", self._style, ["GET"]),
        ):
            self.blueprint.add_url_rule(rule, view.__name__.strip("_"), view, methods=methods)
        self.blueprint.after_request(_protect)
        self.blueprint.register_error_handler(CompatAuthError, cast("Any", self._show_error))

    def _show_login(self) -> Response:
        return self._form(200, safe_next(request.args.get("next")))

    def _log_in(self) -> Response:
        if (request.content_length or 0) > MAX_FORM_BYTES:
            return self._form(413, "/", "The form is too large.")
        target = safe_next(request.form.get("next"))
        username, password = request.form.get("username", ""), request.form.get("password", "")
        if forgery := self._form_forgery():
            self._record("reject", username, forgery)
            return self._form(400, target, "This page had expired. Please try again.", username)
        wait_s = self._attempts.wait_s(request.remote_addr or "", username[:_MAX_NAME])
        if wait_s:
            self._record("reject", username, "too many attempts")
            answer = self._form(429, target, "Too many attempts. Please wait a minute.", username)
            answer.headers["Retry-After"] = str(wait_s)
            return answer
        try:
            identity, token = self._check(username, password)
        except CompatAuthError as error:
            if error.status >= 500:
                raise
            self._record("reject", username, str(error))
            identity, token = None, None
        if identity is None:
            return self._form(403, target, "User name or password is wrong.", username)
        sessions.log_in(identity)
        self._record("accept", identity.username, "")
        answer = _redirect(target)
        self._clear_form_cookie(answer)
        if token is not None:
            max_age_s = min(max(0, int(token.expires_at - time.time()) - _TOKEN_MARGIN_S), _TOKEN_MAX_AGE_S)
            self._set_cookie(answer, self._token_cookie, token.value, max_age_s)
        return answer

    def _check(self, username: str, password: str) -> tuple[Identity | None, Token | None]:
        """Return who it is, with the token for the upstream's own cookie where there is one."""
        if not _could_be(username, password):
            self._record("reject", username, "not a user name and password")
            return None, None
        credential = Basic(username, password)
        answer = self._chain.ask(credential)
        if not isinstance(answer.outcome, Accept):
            self._record("reject", username, getattr(answer.outcome, "reason", "no backend takes passwords"))
            return None, None
        identity = answer.outcome.identity
        if identity.scopes is not None or identity.role_account or identity.expires_at is not None:
            # A session would lend a limited credential what it does not have.
            self._record("reject", username, "a limited credential cannot begin a session")
            return None, None
        hand_off: HandOff | None = flask.current_app.extensions.get(_HAND_OFF)
        if hand_off is None or not self._token_cookie:
            return identity, None
        return identity, hand_off(identity, credential, answer.outcome.token)

    def _show_logout(self) -> Response:
        session = sessions.current_session()
        if session is None:
            return _page("logout.html", 200, prefix=self._prefix, username="", token="")
        return _page("logout.html", 200, prefix=self._prefix, username=session.username, token=session.csrf_token)

    def _log_out(self) -> Response:
        session = sessions.current_session()
        if session is not None:
            token = request.form.get("token", "") if (request.content_length or 0) <= MAX_FORM_BYTES else ""
            if _forgery(token, session.csrf_token) or not is_same_token(token, session.csrf_token):
                return _page(
                    "logout.html", 400, prefix=self._prefix, username=session.username, token=session.csrf_token
                )
            if request.form.get("everywhere"):
                live = live_sessions_of(flask.current_app)
                assert live is not None  # noqa: S101  # for the type checkers: there is a session
                live.end_all(session.username)
            self._record("logout", session.username, "everywhere" if request.form.get("everywhere") else "")
        elif _forgery("", ""):
            return _page("logout.html", 400, prefix=self._prefix, username="", token="")
        sessions.clear()
        answer = _redirect(f"{self._prefix}logout")
        if self._token_cookie:
            self._set_cookie(answer, self._token_cookie, "", 0)
        return answer

    def _show_session(self) -> Response:
        """Tell a page's own script whose session it is, and the token that its unsafe requests may bring."""
        found = sessions.current_session()
        if found is None:
            return flask.make_response({"username": None}, 401)
        content = {"username": found.username, "created": found.created, "csrf_token": found.csrf_token}
        return flask.make_response(content)

    def _style(self) -> Response:
        return flask.make_response(_STYLE, {"Content-Type": "text/css; charset=utf-8"})

    def _show_error(self, error: CompatAuthError) -> Response:
        if isinstance(error, ConfigError):
            raise error
        answer = self._form(error.status, "/", "Logging in is not possible at the moment. Please try again later.")
        if isinstance(error, BackendUnavailable):
            answer.headers["Retry-After"] = str(error.retry_after_s)
        self._record("unavailable", "", str(error))
        return answer

    def _form(self, status: int, target: str, message: str = "", username: str = "") -> Response:
        """Return the form, tied to this browser by a cookie."""
        token = request.cookies.get(self._form_cookie_name(), "")
        if not 32 <= len(token) <= 64:
            token = new_secret()
        answer = _page(
            "login.html",
            status,
            prefix=self._prefix,
            next=target,
            token=token,
            message=message,
            username=username[:_MAX_NAME],
        )
        self._set_cookie(answer, self._form_cookie, token, 3600, own=True)
        return answer

    def _form_forgery(self) -> str:
        # Logging somebody in as somebody else is an attack, too: what they then do is done for the attacker.
        token = request.form.get("token", "")
        cookie = request.cookies.getlist(self._form_cookie_name())
        if len(cookie) != 1 or not hmac.compare_digest(token.encode(), cookie[0].encode()) or len(token) < 32:
            return "the form's token is not this browser's"
        return _forgery(token, token)

    def _form_cookie_name(self) -> str:
        return f"__Host-{self._form_cookie}" if request.is_secure else self._form_cookie

    def _clear_form_cookie(self, answer: Response) -> None:
        self._set_cookie(answer, self._form_cookie, "", 0, own=True)

    def _set_cookie(self, answer: Response, name: str, value: str, max_age_s: int, *, own: bool = False) -> None:
        name = f"__Host-{name}" if own and request.is_secure else name
        answer.set_cookie(name, value, max_age=max_age_s, secure=request.is_secure, httponly=True, samesite="Lax")

    def _record(self, result: str, username: str, reason: str) -> None:
        audit.record(
            audit.Verdict(
                result, "login", username[:_MAX_NAME], reason, request.method, request.path, request.remote_addr or ""
            )
        )


def _could_be(username: str, password: str) -> bool:
    """Return whether HTTP Basic could carry this pair (RFC 7617 section 2)."""
    if not 0 < len(username) <= _MAX_NAME or not 0 < len(password) <= _MAX_PASSWORD or ":" in username:
        return False
    return all(ord(letter) >= 0x20 and ord(letter) != 0x7F for letter in username + password)


def _forgery(token: str, expected: str) -> str:
    assert request.method not in SAFE_METHODS  # noqa: S101  # routed so
    source = Source(
        request.headers.get("Sec-Fetch-Site"),
        request.headers.get("Origin"),
        f"{request.scheme}://{request.host}",
        token,
    )
    return find_forgery(request.method, source, expected)


def _page(template: str, status: int, **values: object) -> Response:
    return flask.make_response(render_template(f"compat_auth/{template}", **values), status)


def _redirect(target: str) -> Response:
    answer = flask.make_response("", 303)
    # As it stands: a framework that completes it could complete it to another host.
    answer.headers["Location"] = target
    answer.autocorrect_location_header = False
    return answer


def _protect(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers[name] = value
    return response


_STYLE = """\
body { font-family: system-ui, sans-serif; max-width: 24rem; margin: 10vh auto; padding: 0 1rem; color: #222; }
label { display: block; margin-top: 1rem; }
input { width: 100%; box-sizing: border-box; font: inherit; padding: .5rem; }
button { font: inherit; margin-top: 1.5rem; padding: .5rem 1rem; }
[role=alert] { border-left: .25rem solid #b00; padding-left: .75rem; }
"""

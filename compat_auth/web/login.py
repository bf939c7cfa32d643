"""The login form, checked by the same backends as HTTP Basic."""

from __future__ import annotations

from flask import Response, request

from compat_auth import sessions
from compat_auth.chain import Chain
from compat_auth.credentials import Basic
from compat_auth.errors import CompatAuthError
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept
from compat_auth.safe_next import safe_next
from compat_auth.web.attempts import LoginAttempts
from compat_auth.web.form_token import FormToken
from compat_auth.web.hand_off import UpstreamCookie
from compat_auth.web.page import MAX_NAME, is_too_large, record, redirect, render_page

_MAX_PASSWORD = 4096


class LoginPage:
    """The form.

    Args:
        chain: Checks the passwords.
        form_token: Ties the form to a browser.
        upstream_cookie: What a login gives the browser besides our session.
    """

    def __init__(self, chain: Chain, form_token: FormToken, upstream_cookie: UpstreamCookie) -> None:
        self._chain = chain
        self._form_token = form_token
        self._upstream_cookie = upstream_cookie
        self._attempts = LoginAttempts()

    def show(self) -> Response:
        """Answer a GET."""
        return self.render(200, safe_next(request.args.get("next")))

    def log_in(self) -> Response:
        """Answer a POST."""
        if is_too_large():
            return self.render(413, "/", "The form is too large.")
        target = safe_next(request.form.get("next"))
        username, password = request.form.get("username", ""), request.form.get("password", "")
        if forgery := self._form_token.forgery():
            record("reject", username, forgery)
            return self.render(400, target, "This page had expired. Please try again.", username)
        wait_s = self._attempts.wait_s(request.remote_addr or "", username[:MAX_NAME])
        if wait_s:
            record("reject", username, "too many attempts")
            answer = self.render(429, target, "Too many attempts. Please wait a minute.", username)
            answer.headers["Retry-After"] = str(wait_s)
            return answer
        try:
            identity, token = self._check(username, password)
        except CompatAuthError as error:
            if error.status >= 500:
                raise
            record("reject", username, str(error))
            identity, token = None, None
        if identity is None:
            return self.render(403, target, "User name or password is wrong.", username)
        sessions.log_in(identity)
        record("accept", identity.username, "")
        answer = redirect(target)
        self._form_token.clear(answer)
        self._upstream_cookie.keep(answer, token)
        return answer

    def render(self, status: int, target: str, message: str = "", username: str = "") -> Response:
        """Return the form, tied to this browser by a cookie."""
        token = self._form_token.current()
        name = username[:MAX_NAME]
        answer = render_page("login.html", status, next=target, token=token, message=message, username=name)
        self._form_token.keep(answer, token)
        return answer

    def _check(self, username: str, password: str) -> tuple[Identity | None, Token | None]:
        """Return who it is, with the token for the upstream's own cookie where there is one."""
        if not _could_be(username, password):
            record("reject", username, "not a user name and password")
            return None, None
        credential = Basic(username, password)
        answer = self._chain.ask(credential)
        if not isinstance(answer.outcome, Accept):
            record("reject", username, getattr(answer.outcome, "reason", "no backend takes passwords"))
            return None, None
        identity = answer.outcome.identity
        if identity.scopes is not None or identity.role_account or identity.expires_at is not None:
            # A session would lend a limited credential what it does not have.
            record("reject", username, "a limited credential cannot begin a session")
            return None, None
        return identity, self._upstream_cookie.obtain(identity, credential, answer.outcome.token)


def _could_be(username: str, password: str) -> bool:
    """Return whether HTTP Basic could carry this pair (RFC 7617 section 2)."""
    if not 0 < len(username) <= MAX_NAME or not 0 < len(password) <= _MAX_PASSWORD or ":" in username:
        return False
    return all(ord(letter) >= 0x20 and ord(letter) != 0x7F for letter in username + password)

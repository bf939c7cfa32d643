"""The login page: a password form, checked by the same backends as HTTP Basic, and a button for each other login."""

from __future__ import annotations

from flask import Response, request

from compat_auth.authn.chain import Chain
from compat_auth.credentials import Basic
from compat_auth.errors import CompatAuthError, StageRefusal
from compat_auth.http.browser.redirects import safe_next
from compat_auth.outcome import Accept, Outcome
from compat_auth.web.forms import FormToken
from compat_auth.web.login_completion import LoginCompletion, is_limited
from compat_auth.web.page import MAX_NAME, here, is_too_large, record, render_page
from compat_auth.web.throttling import LoginAttempts

_MAX_PASSWORD = 4096
_WRONG = 403


class LoginPage:
    """The login page.

    Args:
        chain: Checks the passwords.
        form_token: Binds the form to a browser (CSRF).
        completion: Completes a login.
        ways: Other ways to log in: path below the prefix, and text of the button.
        workers: Number of processes that share the rate limits.
    """

    def __init__(
        self,
        chain: Chain,
        form_token: FormToken,
        completion: LoginCompletion,
        ways: tuple[tuple[str, str], ...],
        *,
        workers: int = 1,
    ) -> None:
        self._chain = chain
        self._form_token = form_token
        self._completion = completion
        self._ways = ways
        self._attempts = LoginAttempts(workers)

    def show(self) -> Response:
        """Answer a GET."""
        return self.render(200, safe_next(request.args.get("next"), here("/")))

    def log_in(self) -> Response:
        """Answer a POST."""
        if is_too_large():
            return self.render(413, here("/"), "The form is too large.")
        target = safe_next(request.form.get("next"), here("/"))
        username, password = request.form.get("username", ""), request.form.get("password", "")
        if forgery := self._form_token.forgery():
            record("reject", username, forgery)
            return self.render(400, target, "This page has expired. Please try again.", username)
        wait_s = self._attempts.wait_s(request.remote_addr or "", username[:MAX_NAME])
        if wait_s:
            record("reject", username, "too many attempts")
            answer = self.render(429, target, "Too many attempts. Please wait a minute.", username)
            answer.headers["Retry-After"] = str(wait_s)
            return answer
        try:
            completed = self._log_in_user(username, password, target)
        except StageRefusal as refusal:
            record("reject", username, str(refusal))
            return self.render(403, target, str(refusal), username)
        if completed is None:
            return self.render(_WRONG, target, "User name or password is wrong.", username)
        self._attempts.remember(request.remote_addr or "", username)
        self._form_token.clear(completed)
        return completed

    def render(self, status: int, target: str, message: str = "", username: str = "") -> Response:
        """Return the form, bound to this browser by a cookie."""
        token = self._form_token.current()
        answer = render_page(
            "login.html",
            status,
            next=target,
            token=token,
            message=message,
            username=username[:MAX_NAME],
            # The same for every wrong pair: the page must not tell which half of it was wrong.
            to_password=bool(message) and (status == _WRONG or username != ""),
            ways=self._ways,
            takes_passwords=self._chain.takes(Basic),
        )
        self._form_token.keep(answer, token)
        return answer

    def _log_in_user(self, username: str, password: str, target: str) -> Response | None:
        """Log in a user that a backend accepts; None if no backend does, or the upstream does not know the user."""
        if not _could_be(username, password):
            record("reject", username, "not a user name and password")
            return None
        credential = Basic(username, password)
        try:
            return self._conclude(self._chain.ask(credential).outcome, credential, target)
        except CompatAuthError as error:
            if error.status >= 500 or isinstance(error, StageRefusal):
                raise
            record("reject", username, str(error))
            return None

    def _conclude(self, outcome: Outcome, credential: Basic, target: str) -> Response | None:
        if not isinstance(outcome, Accept):
            reason = getattr(outcome, "reason", "no backend takes passwords")
            record("reject", credential.username, reason, names_nobody=getattr(outcome, "names_nobody", False))
            return None
        if is_limited(outcome.identity) or outcome.identity.expires_at is not None:
            record("reject", credential.username, "a limited credential cannot begin a session")
            return None
        return self._completion.let_in(outcome, credential, target)


def _could_be(username: str, password: str) -> bool:
    """Return whether HTTP Basic could carry this pair (RFC 7617 section 2)."""
    if not 0 < len(username) <= MAX_NAME or not 0 < len(password) <= _MAX_PASSWORD or ":" in username:
        return False
    return all(ord(letter) >= 0x20 and ord(letter) != 0x7F for letter in username + password)

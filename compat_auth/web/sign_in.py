"""Logins that backends offer: redirect the browser to a provider and handle its callback, or ask for a credential."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request

from compat_auth.authn.chain import OfferedSignIn, contained
from compat_auth.credentials import Absent
from compat_auth.errors import CompatAuthError, RequestRefused, StageRefusal
from compat_auth.guard import request_credential
from compat_auth.http.browser.redirects import safe_next
from compat_auth.outcome import Accept, Outcome
from compat_auth.sign_in import CredentialSignIn, RedirectSignIn
from compat_auth.web.login_completion import LoginCompletion, is_limited
from compat_auth.web.page import comes_from_another_site, here, record, redirect, render_page
from compat_auth.web.sign_in_state import AttemptCookie

FOLDER = "sign-in"
_MAX_LOGGED = 200


class SignInPages:
    """The pages of one way to log in: `sign-in/NAME`, and `sign-in/NAME/callback` for a provider's redirect.

    Args:
        offered: The way to log in, and the backend that offers it.
        prefix: Path prefix of our own pages.
        attempts: Binds attempts to browsers.
        completion: Completes a login.
    """

    def __init__(
        self, offered: OfferedSignIn, prefix: str, attempts: AttemptCookie, completion: LoginCompletion
    ) -> None:
        self._backend = offered.backend
        self._way = offered.way
        self._prefix = prefix
        self._attempts = attempts
        self._completion = completion
        self.name = offered.way.name
        self.label = offered.way.label
        self.path = f"{FOLDER}/{self.name}"

    def routes(self) -> tuple[tuple[str, str, Callable[[], Response]], ...]:
        """Return (path below the prefix, method, view) of each page."""
        if isinstance(self._way, CredentialSignIn):
            return ((self.path, "GET", self.show_credential),)
        return ((self.path, "GET", self.begin), (f"{self.path}/callback", "GET", self.come_back))

    def begin(self) -> Response:
        """Redirect the browser to the provider."""
        assert isinstance(self._way, RedirectSignIn)  # noqa: S101  # guaranteed by the route
        way, target = self._way, safe_next(request.args.get("next"), here("/"))
        if comes_from_another_site():
            return self._ask_first(target)
        begun = self._attempts.begin(self.name, self._redirect_uri(), target)
        answer = redirect(contained(self._backend, lambda: way.begin(begun.attempt)))
        self._attempts.keep(answer, begun)
        return answer

    def come_back(self) -> Response:
        """Handle the callback from the provider and log the user in."""
        assert isinstance(self._way, RedirectSignIn)  # noqa: S101  # guaranteed by the route
        way, begun = self._way, self._attempts.take(self.name, self._redirect_uri())
        if begun is None:
            # Possibly an attacker's own callback, in a browser that never began a login (login CSRF).
            record("reject", "", "an answer to no attempt of this browser", way=self.name)
            return self._refuse(400, "This login has expired, or began in another browser. Please try again.")
        answer_query = request.args
        if any(len(answer_query.getlist(name)) != 1 for name in answer_query):
            record("reject", "", "a parameter that is there twice", way=self.name)
            answer = self._refuse(400, "The answer could not be read. Please try again.")
        else:
            outcome = contained(self._backend, lambda: way.finish(begun.attempt, answer_query.to_dict()))
            answer = self._conclude(outcome, begun.target)
        self._attempts.clear(answer)
        return answer

    def show_credential(self) -> Response:
        """Ask the browser for a credential, and log the user in if it is valid."""
        assert isinstance(self._way, CredentialSignIn)  # noqa: S101  # guaranteed by the route
        target = safe_next(request.args.get("next"), here("/"))
        # A browser sends a ticket to any page that asks for it: begin a session only if the user meant to log in.
        if comes_from_another_site():
            return self._ask_first(target)
        try:
            credential = request_credential()
        except RequestRefused as error:
            record("reject", "", str(error), way=self.name)
            return self._refuse(400, "The credential could not be read. Please try again.", target)
        if isinstance(credential, Absent):
            answer = self._refuse(401, f"{self.label}: your browser sent no credential.", target)
            answer.headers["WWW-Authenticate"] = self._way.challenge
            return answer
        backend = self._backend
        if type(credential) not in backend.kinds:
            record("reject", "", "another kind of credential", way=self.name)
            return self._refuse(403, f"{self.label} did not work.", target)
        return self._conclude(contained(backend, lambda: backend.authenticate(credential)), target)

    def _conclude(self, outcome: Outcome, target: str) -> Response:
        if not isinstance(outcome, Accept) or is_limited(outcome.identity):
            reason = getattr(outcome, "reason", "a limited credential, or none")
            record("reject", "", reason[:_MAX_LOGGED], way=self.name)
            return self._refuse(403, f"{self.label} did not work, or you have no access here.", target)
        try:
            answer = self._completion.let_in(outcome, Absent(), target)
        except CompatAuthError as error:
            if error.status >= 500:
                raise
            record("reject", outcome.identity.username, str(error), way=self.name)
            message = str(error) if isinstance(error, StageRefusal) else ""
            return self._refuse(403, message or f"{self.label} did not work, or you have no access here.", target)
        for name, value in outcome.headers:
            answer.headers.add(name, value)
        return answer

    def _ask_first(self, target: str) -> Response:
        return render_page("sign_in.html", 200, path=self.path, label=self.label, next=target, message="")

    def _refuse(self, status: int, message: str, target: str = "/") -> Response:
        return render_page("sign_in.html", status, path="", label="", next=target, message=message)

    def _redirect_uri(self) -> str:
        return f"{request.scheme}://{request.host}{here(self._prefix + self.path)}/callback"

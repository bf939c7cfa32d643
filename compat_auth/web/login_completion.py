"""Completes a login: checks that the user may have a session, begins the session, and sets the upstream's login cookie.

With that cookie, the user is also logged in on the upstream's own pages.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import flask
from flask import Flask, Response

from compat_auth import sessions
from compat_auth.authn.chain import Chain
from compat_auth.config import Settings
from compat_auth.credentials import Credential
from compat_auth.errors import NotPermitted
from compat_auth.guard import require_stage
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept
from compat_auth.web.page import here, record, redirect, set_cookie

_EXTENSION = "compat_auth_cookie_token_issuer"
# The name of the backend that accepts a session.
_SESSION = "session"
# The browser must drop the cookie before its token expires.
_TOKEN_MARGIN_S = 10
_TOKEN_MAX_AGE_S = 2592000

CookieTokenIssuer = Callable[[Identity, Credential, Token | None], Token]


def set_cookie_token_issuer(app: Flask, issue: CookieTokenIssuer) -> None:
    """Register the function that issues the token in the upstream's login cookie."""
    app.extensions[_EXTENSION] = issue


def cookie_token_issuer(app: Flask) -> CookieTokenIssuer | None:
    """Return the function that issues the token in the upstream's login cookie; None if there is no such cookie."""
    found: CookieTokenIssuer | None = app.extensions.get(_EXTENSION)
    return found


class UpstreamCookie:
    """The login cookie of the upstream's own pages; every method does nothing if the upstream has none.

    Attributes:
        name: Its name; "" if the upstream has none.
    """

    def __init__(self, settings: Settings) -> None:
        airflow = settings.upstream.profile != "generic"
        # Airflow 3 itself accepts the first of these as a login: `_token`.
        self.name = next(iter(settings.upstream.identity_cookies), "") if airflow else ""
        self._is_read_by_script = settings.upstream.script_reads_cookie

    def obtain(self, identity: Identity, credential: Credential, yielded: Token | None) -> Token | None:
        """Return the token for the cookie; None if there is no cookie.

        Raises:
            CompatAuthError: The upstream does not accept this user, or no token is available now.
        """
        issue = cookie_token_issuer(flask.current_app)
        return None if issue is None or not self.name else issue(identity, credential, yielded)

    def keep(self, answer: Response, token: Token | None) -> None:
        """Set the cookie for the lifetime of its token."""
        if token is not None:
            max_age_s = min(max(0, int(token.expires_at - time.time()) - _TOKEN_MARGIN_S), _TOKEN_MAX_AGE_S)
            set_cookie(answer, self.name, token.value, max_age_s, path=here("/"), http_only=not self._is_read_by_script)

    def header(self, token: Token | None) -> list[str]:
        """Return the Set-Cookie values that set the cookie, or clear it if the token is None."""
        answer = Response()
        if token is None:
            self.clear(answer)
        else:
            self.keep(answer, token)
        return answer.headers.getlist("Set-Cookie")

    def clear(self, answer: Response) -> None:
        """Clear the cookie."""
        if self.name:
            set_cookie(answer, self.name, "", 0, path=here("/"))


class LoginCompletion:
    """Completes logins.

    Args:
        chain: Knows which names are role accounts.
        upstream_cookie: Set together with our session cookie.
    """

    def __init__(self, chain: Chain, upstream_cookie: UpstreamCookie) -> None:
        self._chain = chain
        self._upstream_cookie = upstream_cookie

    def let_in(self, accepted: Accept, credential: Credential, target: str) -> Response:
        """Begin a session and return the redirect; the session always gets a new id (session fixation).

        Raises:
            StageRefusal: The login is not to be used any more, or not now.
            CompatAuthError: The upstream does not accept this user, no token is available now, or the name is a role
                account's.
        """
        identity = accepted.identity
        if not self._chain.may_verify(identity):
            raise NotPermitted(f"{identity.username!r} is a role account")
        # As the session that would begin: a site may switch a backend off, and leave its sessions on.
        require_stage(replace(identity, backend=_SESSION, login=identity.backend))
        # First: a user that the upstream does not know gets no session either.
        token = self._upstream_cookie.obtain(identity, credential, accepted.token)
        sessions.log_in(identity)
        record("accept", identity.username, "")
        answer = redirect(target)
        self._upstream_cookie.keep(answer, token)
        return answer


def is_limited(identity: Identity) -> bool:
    """Return whether the identity's credential is limited, so that a session would have more permissions than it."""
    return identity.scopes is not None or identity.role_account

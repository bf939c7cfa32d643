"""Who has just logged in here is logged in at the upstream's own pages too, by the upstream's own cookie."""

from __future__ import annotations

import time
from collections.abc import Callable

import flask
from flask import Flask, Response

from compat_auth import sessions
from compat_auth.authn.chain import Chain
from compat_auth.config import Settings
from compat_auth.credentials import Credential
from compat_auth.errors import NotPermitted
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept
from compat_auth.web.page import here, record, redirect, set_cookie

_EXTENSION = "compat_auth_hand_off"
# A token that is about to end must not outlive itself in the browser.
_TOKEN_MARGIN_S = 10
_TOKEN_MAX_AGE_S = 2592000

HandOff = Callable[[Identity, Credential, Token | None], Token]


def set_hand_off(app: Flask, hand_off: HandOff) -> None:
    """Let a login also give the browser the upstream's own login cookie, made from this token."""
    app.extensions[_EXTENSION] = hand_off


def hand_off_of(app: Flask) -> HandOff | None:
    """Return what makes the token of the upstream's own login cookie; None where there is no such cookie."""
    found: HandOff | None = app.extensions.get(_EXTENSION)
    return found


class UpstreamCookie:
    """The login cookie of the upstream's own pages; without one, nothing happens.

    Attributes:
        name: Its name; "" where there is none.
    """

    def __init__(self, settings: Settings) -> None:
        airflow = settings.upstream.profile != "generic"
        # Airflow 3 takes the first of these for an identity by itself: `_token`.
        self.name = next(iter(settings.upstream.identity_cookies), "") if airflow else ""
        self._is_read_by_script = settings.upstream.script_reads_cookie

    def obtain(self, identity: Identity, credential: Credential, yielded: Token | None) -> Token | None:
        """Return the token for the cookie; None where there is no cookie.

        Raises:
            CompatAuthError: The upstream would have no token for this user, or there is none at present.
        """
        hand_off = hand_off_of(flask.current_app)
        return None if hand_off is None or not self.name else hand_off(identity, credential, yielded)

    def keep(self, answer: Response, token: Token | None) -> None:
        """Give the browser the cookie, for as long as its token lasts."""
        if token is not None:
            max_age_s = min(max(0, int(token.expires_at - time.time()) - _TOKEN_MARGIN_S), _TOKEN_MAX_AGE_S)
            set_cookie(answer, self.name, token.value, max_age_s, path=here("/"), http_only=not self._is_read_by_script)

    def header(self, token: Token | None) -> list[str]:
        """Return the Set-Cookie values that give the browser the cookie, or take it away: None."""
        answer = Response()
        if token is None:
            self.clear(answer)
        else:
            self.keep(answer, token)
        return answer.headers.getlist("Set-Cookie")

    def clear(self, answer: Response) -> None:
        """Take the cookie from the browser."""
        if self.name:
            set_cookie(answer, self.name, "", 0, path=here("/"))


class LoginCompletion:
    """Lets people in.

    Args:
        chain: Knows whose name is nobody's in person.
        upstream_cookie: What a login gives the browser besides our session.
    """

    def __init__(self, chain: Chain, upstream_cookie: UpstreamCookie) -> None:
        self._chain = chain
        self._upstream_cookie = upstream_cookie

    def let_in(self, accepted: Accept, credential: Credential, target: str) -> Response:
        """Return the redirect that begins a session, with a new id whatever the browser had.

        Raises:
            CompatAuthError: The upstream would have no token for this user, or there is none at present; or the name
                is a role account's.
        """
        identity = accepted.identity
        if not self._chain.may_verify(identity):
            raise NotPermitted(f"{identity.username!r} is a role account")
        # First: whom the upstream does not know gets no session either.
        token = self._upstream_cookie.obtain(identity, credential, accepted.token)
        sessions.log_in(identity)
        record("accept", identity.username, "")
        answer = redirect(target)
        self._upstream_cookie.keep(answer, token)
        return answer


def is_limited(identity: Identity) -> bool:
    """Return whether a session would lend the credential of an identity what it does not have."""
    return identity.scopes is not None or identity.role_account

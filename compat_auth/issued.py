"""Lets a backend accept the credentials that compat_auth issues itself: personal tokens and login sessions."""

from __future__ import annotations

import dataclasses
import functools
import hmac

import flask

from compat_auth.authn.revocation_events import UNHEARD_S, RevocationEvents
from compat_auth.authn.session_registry import credential_id_of, live_sessions_of
from compat_auth.authn.session_sealing import Session
from compat_auth.client_certificates import shown_thumbprint
from compat_auth.config import Settings
from compat_auth.credentials import looks_like_personal_token
from compat_auth.errors import InvalidSession, InvalidToken, NoSuchToken, NotAuthenticated
from compat_auth.facts import answers_without_flask, is_secure, request_facts
from compat_auth.outcome import ONLY_ASKED_ABOUT, Accept
from compat_auth.peer import request_peer
from compat_auth.personal_tokens.expiry_notices import expiry_headers
from compat_auth.personal_tokens.owners import TokenOwners
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream, personal_tokens_of
from compat_auth.sessions import cookie_values
from compat_auth.store.tables.personal_tokens import PersonalToken

__all__ = [
    "ANY_USER",
    "PersonalTokenVerifier",
    "Session",
    "believable_s",
    "bound_to_session",
    "open_sessions",
    "presented_session",
]

ANY_USER = "__token__"
"""User name with which any user's personal token is accepted, for scripts that do not know whose token they have."""


class PersonalTokenVerifier:
    """Verifies and revokes personal tokens of the current request. Any thread may call.

    Args:
        settings: With `[personal_tokens]`, and where owners are looked up.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._owners: list[TokenOwners] = []

    def answers_without_flask(self) -> bool:
        """Return whether no directory of an app reads Flask's request."""
        return all(answers_without_flask(owners) for owners in self._owners)

    def init_app(self, app: flask.Flask) -> None:
        """Give the app its personal tokens; calling it twice is harmless.

        Raises:
            ConfigError: A pepper, a directory or the database's URL cannot work, or owners cannot be looked up.
        """
        owners = _required(personal_tokens_of(app, self._settings)).owners
        owners.require_some()
        self._owners.append(owners)

    def verify(self, text: str, username: str, *, backend: str) -> Accept:
        """Return the owner of a token, limited as the token is; the use is recorded.

        Args:
            text: As presented.
            username: Who must own the token; `ANY_USER` for anybody.
            backend: Name of the backend that vouches.

        Raises:
            NotAuthenticated: The token does not work, is another user's, or is bound to a certificate that the client has
                not shown; the message is for logs only.
            BackendUnavailable: The store or a directory could not be asked.
            TooManyRequests: Too many wrong tokens have come from this address.
        """
        request = request_facts()
        tokens = _required(personal_tokens_of(request.app))
        token, owner = tokens.verification.verify(text, client=request.client)
        if username not in (ANY_USER, owner.username):
            raise NotAuthenticated(f"{token.id}: belongs to a user who is not the one in the request")
        # Who introspects a token need not be its bearer: the answer has the certificate in `cnf` (RFC 8705 section 3.2).
        if token.certificate and ONLY_ASKED_ABOUT not in request.environ:
            self._require_certificate(token)
        tokens.notices.ensure()
        # Introspection is no use: the owner could not tell the program that asks from a thief.
        if ONLY_ASKED_ABOUT not in request.environ:
            agent = request.header("User-Agent") or ""
            tokens.usage.see(token.id, token.last_used, address=request.client, agent=agent)
        return Accept(
            dataclasses.replace(owner, backend=backend),
            expiry_headers(token, tokens.now()),
            reusable_s=UNHEARD_S,
            used=functools.partial(tokens.usage.count, token.id),
        )

    def _require_certificate(self, token: PersonalToken) -> None:
        """Raise unless the client has shown the certificate to which a token is bound (RFC 8705 section 3).

        Raises:
            NotAuthenticated: It has shown none, another one, or one that cannot be read in exactly one way.
        """
        try:
            shown = shown_thumbprint(self._settings.client_certificate, request_peer())
        except InvalidToken as error:
            raise NotAuthenticated(f"{token.id}: bound to a client certificate: {error}") from None
        if not hmac.compare_digest(shown, token.certificate):
            what = "is another" if shown else "cannot be seen"
            raise NotAuthenticated(f"{token.id}: bound to a client certificate, and that of this request {what}")

    def revoke(self, text: str) -> bool:
        """Revoke a token that works, at the wish of its bearer; False where it does not work.

        Raises:
            BackendUnavailable: The store could not be asked.
        """
        tokens = personal_tokens_of(request_facts().app)
        if tokens is None or not looks_like_personal_token(text):
            return False
        try:
            tokens.revoke(tokens.verification.find(text), reason="revoked by its bearer")
        except (NotAuthenticated, NoSuchToken):
            return False
        return True

    def probe(self) -> str:
        """Return how many tokens are alive, for `compat-auth check`.

        Raises:
            BackendUnavailable: The store could not be asked.
            ConfigError: Owners cannot be looked up, or tokens that are alive need a pepper that is not set.
        """
        tokens = PersonalTokens.from_settings(self._settings, RevocationEvents(), revoke_upstream=no_upstream)
        tokens.owners.require_some()
        try:
            return tokens.verification.probe()
        finally:
            tokens.rows.database.close()


def open_sessions(app: flask.Flask, settings: Settings | None) -> None:
    """Give the app the sessions of `[session]`; nothing where no secret is set. Calling it twice is harmless.

    Raises:
        ConfigError: The secret is too short, or the database's URL cannot work.
    """
    live_sessions_of(app, settings)


def presented_session(*, believed_s: float = UNHEARD_S) -> Session | None:
    """Return the login session in the cookie of the current request; None where there is no such cookie.

    Args:
        believed_s: How long ago, in seconds, the store may have said that it has not been revoked; a second at most.

    Raises:
        InvalidSession: The cookie is not ours, its session has ended, or there are two; for logs only.
        BackendUnavailable: The store could not be asked.
    """
    request = request_facts()
    sessions = live_sessions_of(request.app)
    values = [] if sessions is None else cookie_values(sessions)
    if sessions is None or not values:
        return None
    if len(values) > 1:
        # One of them was set by another host of the domain, or on another path.
        raise InvalidSession("session: two cookies of that name")
    return sessions.find(values[0], secure=is_secure(request), believed_s=believed_s)


def believable_s(session: Session) -> float:
    """Return for how many seconds a session of the current app counts without another question to the store.

    That is a second after the store was asked, and never longer than the session; 0 where it was not asked.
    """
    sessions = live_sessions_of(request_facts().app)
    return 0 if sessions is None else sessions.believable_s(session)


def bound_to_session(accept: Accept, session: Session) -> Accept:
    """Return the Accept with the end and the id of the session, and with the renewed cookie when one is due.

    A token that is made from a session ends with it: at its end, and at logout.

    Raises:
        BackendUnavailable: The store could not be asked.
    """
    request = request_facts()
    sessions = live_sessions_of(request.app)
    assert sessions is not None  # noqa: S101  # for the type checkers: the session came from there
    ends_at, credential_id = sessions.cookie.ends(session), credential_id_of(session)
    accept = dataclasses.replace(
        accept, identity=dataclasses.replace(accept.identity, expires_at=ends_at, credential_id=credential_id)
    )
    renewed = sessions.renew(session)
    if renewed is None:
        return accept
    header = sessions.cookie.header(renewed, secure=is_secure(request))
    # The upstream's answer may say that any cache may keep it.
    headers = (("Set-Cookie", header), ("Cache-Control", "no-store"))
    return dataclasses.replace(accept, headers=headers, reusable_s=0)


def _required(tokens: PersonalTokens | None) -> PersonalTokens:
    assert tokens is not None  # noqa: S101  # for the type checkers: init_app has seen to it
    return tokens

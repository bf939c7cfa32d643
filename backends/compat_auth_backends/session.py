"""A login session: our own encrypted cookie, or the signed-in user of the Flask app around us (Airflow 2's `session`).

Our cookie says who logged in; at each use the directory is asked whether that user may still log in. A browser
adds cookies to requests that another site makes it send, so a request that changes something must show where it comes
from (`compat_auth.http.browser.csrf`).
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import ClassVar

import flask
from flask_login import current_user  # pyright: ignore[reportMissingTypeStubs]  # flask-login has no stubs

from compat_auth.airflow2 import airflow2_contract
from compat_auth.backend import Backend, CredentialKind
from compat_auth.config import Settings
from compat_auth.credentials import Absent, Credential
from compat_auth.directory import UserDirectory
from compat_auth.errors import InvalidSession
from compat_auth.facts import answers_without_flask, request_facts
from compat_auth.identity import Identity
from compat_auth.issued import Session, believable_s, bound_to_session, open_sessions, presented_session
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth.sessions import BY_APPLICATION, request_forgery
from compat_auth.users import UserLookup, has_logins, identity_of, is_disabled, load_directories
from compat_auth_backends.airflow_session import AirflowSessions
from compat_auth_backends.token_handler import with_membership

CLIENT_AUTH = None
# How soon a session that Airflow has ended, or a user who was disabled, is noticed: within a second, of which a file of
# users may need the other half until it is read again.
REUSE_S = 0.5
# A gate asks again before that time is over: then the store is asked, too.
_ASK_AGAIN_S = 0.25


class SessionBackend(Backend):
    """Authenticates the user whom our encrypted cookie, or the app's login manager, names.

    An explicit credential takes precedence over a cookie: this backend decides only about a request without one.

    Args:
        settings: None: only the app's login manager is asked.
    """

    name = "session"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Absent})
    needs_cookies: ClassVar[bool] = True
    # The cookie decides, and the app's own session with it.
    depends_on_credential_only: ClassVar[bool] = False
    # What has `reusable_s` comes from our cookie or from Airflow's, never from the app's login manager.
    depends_on_cookies_only: ClassVar[bool] = True

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings
        self._apps: weakref.WeakSet[flask.Flask] = weakref.WeakSet()
        self._directories: dict[str, UserDirectory | None] = {}
        self._airflow = None if settings is None else AirflowSessions.from_settings(settings)
        if settings is not None and (settings.session.secret.get_secret_value() or settings.session.secrets):
            self._lookup = UserLookup.from_settings(settings)
            if any("basic_auth" in name for name in settings.auth_backends):
                found = load_directories(settings.basic_auth.directories, settings)
                self._directories = {
                    directory.name: directory if isinstance(directory, UserDirectory) else None for directory in found
                }
        else:
            self._lookup = UserLookup(())

    @classmethod
    def from_settings(cls, settings: Settings) -> SessionBackend:
        """Return the backend; it understands encrypted cookies if `[session]` has a secret.

        Raises:
            ConfigError: A directory that users are looked up in is misconfigured.
        """
        return cls(settings)

    def init_app(self, app: flask.Flask) -> None:
        """Give the app its sessions.

        Raises:
            ConfigError: The secret is too short, or the database's URL cannot work.
        """
        open_sessions(app, self._settings)
        self._apps.add(app)

    def answers_without_flask(self) -> bool:
        """Return whether no app has logins of its own, and no directory reads Flask's request."""
        directories = (directory for directory in self._directories.values() if directory is not None)
        return (
            not any(has_logins(app) for app in self._apps)
            and answers_without_flask(self._lookup)
            and all(answers_without_flask(directory) for directory in directories)
        )

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept the signed-in user, reject a disabled one or a bad cookie, skip if nobody is signed in.

        Raises:
            BackendUnavailable: The store or a directory could not be asked.
        """
        if not isinstance(credential, Absent):
            return Skip()
        if (outcome := self._check_ours()) is not None:
            return outcome
        if self._airflow is not None and (outcome := self._check_airflow(self._airflow)) is not None:
            return outcome
        # Without Flask's request there are no logins, see `answers_without_flask`.
        if not flask.has_request_context() or not hasattr(flask.current_app, "login_manager"):
            return Skip()
        if is_disabled(current_user):
            return Reject("session: user is disabled")
        identity = identity_of(current_user, backend=self.name)
        return Skip() if identity is None else Accept(identity)

    def _check_airflow(self, airflow: AirflowSessions) -> Accept | Reject | None:
        """Return the decision about Airflow's own cookie; None if it names nobody, then Airflow may decide."""
        user = airflow.find_user(request_facts().cookies(airflow.cookie_name))
        if user is None:
            return None
        if not user.active:
            return Reject(f"session: {user.username!r} is disabled in airflow_db", status=403)
        # Airflow 2's clients have no token of ours; a browser says where an unsafe request comes from.
        if forgery := request_forgery(None):
            return Reject(f"session: {forgery}", status=403)
        identity = Identity(
            user.username,
            self.name,
            subject=user.username,
            directory="airflow_db",
            email=user.email,
            roles=user.roles,
            upstream_id=user.upstream_id,
        )
        return Accept(identity, reusable_s=REUSE_S)

    def _check_ours(self) -> Accept | Reject | None:
        """Return the decision about our own cookie; None if there is none."""
        try:
            session = presented_session(believed_s=_ASK_AGAIN_S)
        except InvalidSession as error:
            return Reject(str(error))
        if session is None:
            return None
        if forgery := request_forgery(session):
            return Reject(f"session: {forgery}", status=403)
        outcome = self._still_known(session)
        if isinstance(outcome, Reject):
            return outcome
        return bound_to_session(replace(outcome, reusable_s=min(REUSE_S, believable_s(session))), session)

    def _still_known(self, session: Session) -> Accept | Reject:
        """Return the user with the directory's current data; a Reject for one who may not log in."""
        login = "" if session.backend == BY_APPLICATION else session.backend
        identity = Identity(
            session.username,
            self.name,
            subject=session.subject or session.username,
            email=session.email,
            mfa=session.mfa,
            expires_at=session.expires_at,
            login=login,
        )
        directory = self._directories.get(session.directory)
        if session.backend == BY_APPLICATION:
            # No login page was asked: the app itself says who this is, and what the user is a member of.
            return self._lookup.accept(Accept(with_membership(identity, session.data)))
        if directory is None:
            outcome = self._lookup.accept(Accept(identity))
            if isinstance(outcome, Reject) or outcome.identity.directory or not session.directory:
                return outcome
            if session.directory not in self._directories:
                return Reject(
                    f"session: from {session.directory!r}, which is no longer a directory here",
                    status=403,
                    vouched=True,
                )
            # It only checks passwords: what it said at login stands until the session ends.
            return Accept(replace(outcome.identity, directory=session.directory))
        user = self._lookup.find(directory, session.username)
        # Compared: some directories find a user by another's e-mail address.
        if user is None or user.username != session.username or not user.active:
            return Reject(
                f"session: {session.username!r} is unknown to {directory.name} or disabled there",
                status=403,
                vouched=True,
            )
        known = Identity(
            user.username,
            self.name,
            subject=session.subject or session.username,
            directory=directory.name,
            email=user.email or session.email,
            roles=user.roles,
            upstream_id=user.upstream_id,
            mfa=session.mfa,
            expires_at=session.expires_at,
            login=login,
        )
        return self._lookup.accept(Accept(known))


init_app, requires_authentication = airflow2_contract("session", SessionBackend)

"""The signed-in user of the Flask app around us, as its login manager (flask-login) tells: Airflow 2's `session`."""

from __future__ import annotations

from typing import ClassVar

import flask
from flask_login import current_user  # pyright: ignore[reportMissingTypeStubs]  # flask-login has no stubs

from compat_auth.airflow2_module import airflow2_contract
from compat_auth.backend import Backend, CredentialKind
from compat_auth.credentials import Absent, Credential
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth.user_identity import identity_of, is_disabled

CLIENT_AUTH = None


class SessionBackend(Backend):
    """Vouches for whom the app's login manager knows from the session cookie.

    An explicit credential beats a cookie: only a request without one is this backend's business.
    """

    name = "session"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Absent})
    needs_cookies: ClassVar[bool] = True
    # The cookie decides, and the app's own session with it.
    depends_on_credential_only: ClassVar[bool] = False

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept the signed-in user, reject a disabled one, skip where nobody is signed in."""
        if not isinstance(credential, Absent) or not hasattr(flask.current_app, "login_manager"):
            return Skip()
        if is_disabled(current_user):
            return Reject("session: user is disabled")
        identity = identity_of(current_user, backend=self.name)
        return Skip() if identity is None else Accept(identity)


init_app, requires_authentication = airflow2_contract("session", SessionBackend)

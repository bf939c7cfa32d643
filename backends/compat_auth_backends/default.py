"""Accepts a request without a credential as an anonymous user: Airflow 2's `default`.

The user is called `anonymous`. Airflow 2 gave such a caller the rights of its public role, which has none unless an
administrator has changed it. Here the upstream decides which rights its user `anonymous` has, and without such a user
the answer is 403. A wrong credential is still refused.
"""

from __future__ import annotations

from typing import ClassVar

from compat_auth.airflow2 import airflow2_contract
from compat_auth.backend import Backend, CredentialKind
from compat_auth.config import Settings
from compat_auth.credentials import Absent, Credential
from compat_auth.facts import answers_without_flask
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Skip
from compat_auth.users import UserLookup

CLIENT_AUTH = None
ANONYMOUS = "anonymous"


class DefaultBackend(Backend):
    """Accepts every request without a credential, as the user `anonymous`."""

    name = "default"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Absent})

    def __init__(self, lookup: UserLookup) -> None:
        self._lookup = lookup

    @classmethod
    def from_settings(cls, settings: Settings) -> DefaultBackend:
        """Return the backend; the look-up completes `anonymous`.

        Raises:
            ConfigError: The look-up is misconfigured.
        """
        return cls(UserLookup.from_settings(settings))

    def answers_without_flask(self) -> bool:
        """Return whether no directory of the look-up reads Flask's request."""
        return answers_without_flask(self._lookup)

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept a caller without a credential.

        Raises:
            BackendUnavailable: The look-up could not be asked.
        """
        if not isinstance(credential, Absent):
            return Skip()
        return self._lookup.accept(Accept(Identity(ANONYMOUS, self.name, subject=ANONYMOUS)))


init_app, requires_authentication = airflow2_contract("default", DefaultBackend)

"""Accepts a request without a credential as an anonymous user: Airflow 2's `default`.

The user is called `anonymous`. Airflow 2 gave such a caller what its public role may do, which is nothing unless somebody
has changed it; here the upstream decides what its user `anonymous` may do, and where it has none the answer is 403. A
credential that is presented and wrong stays wrong.
"""

from __future__ import annotations

from typing import ClassVar

from compat_auth.airflow2 import airflow2_contract
from compat_auth.backend import Backend, CredentialKind
from compat_auth.config import Settings
from compat_auth.credentials import Absent, Credential
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
        """Return the backend; who `anonymous` is, the look-up says.

        Raises:
            ConfigError: The look-up is misconfigured.
        """
        return cls(UserLookup.from_settings(settings))

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept a caller who presents nothing.

        Raises:
            BackendUnavailable: The look-up could not be asked.
        """
        if not isinstance(credential, Absent):
            return Skip()
        return self._lookup.accept(Accept(Identity(ANONYMOUS, self.name, subject=ANONYMOUS)))


init_app, requires_authentication = airflow2_contract("default", DefaultBackend)

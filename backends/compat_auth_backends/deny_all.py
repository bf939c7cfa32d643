"""Refuses every request, with any credential: Airflow 2's `deny_all`."""

from __future__ import annotations

from typing import ClassVar

from compat_auth.airflow2 import airflow2_contract
from compat_auth.backend import EVERY_KIND, Backend, CredentialKind
from compat_auth.credentials import Credential
from compat_auth.outcome import Outcome, Reject

CLIENT_AUTH = None


class DenyAllBackend(Backend):
    """Refuses every caller with 403, as Airflow 2 did."""

    name = "deny_all"
    kinds: ClassVar[frozenset[CredentialKind]] = EVERY_KIND

    def answers_without_flask(self) -> bool:
        """Return True: it reads nothing."""
        return True

    def authenticate(self, credential: Credential) -> Outcome:
        """Reject every credential."""
        del credential
        return Reject("deny_all", 403)


init_app, requires_authentication = airflow2_contract("deny_all", DenyAllBackend)

"""Access to the report: for a person with a session who meets `[usage] admins`, and for no program."""

from __future__ import annotations

from flask import request

from compat_auth.authn.chain import Chain
from compat_auth.backend import Backend
from compat_auth.config import Settings
from compat_auth.credentials import Absent
from compat_auth.outcome import Accept
from compat_auth.requirements import Requirements

_SESSION = "session"


class ReportAccess:
    """Decides about the current request.

    Args:
        chain: Its backend of sessions finds the roles and groups of who is logged in.
        admins: A user who meets one of these requirements may read the report; empty: nobody.

    Raises:
        ConfigError: A requirement is unknown.
    """

    def __init__(self, chain: Chain, admins: tuple[str, ...]) -> None:
        self._backend: Backend | None = next((one for one in chain.backends if one.name == _SESSION), None)
        self._admins = Requirements(any_of=admins) if admins else None

    @classmethod
    def from_settings(cls, chain: Chain, settings: Settings) -> ReportAccess:
        """Return the access that the settings give.

        Raises:
            ConfigError: A requirement is unknown.
        """
        return cls(chain, tuple(settings.usage.admins or settings.personal_tokens.admins))

    def may_read(self) -> bool:
        """Return whether the current request's session is an administrator's.

        Raises:
            BackendUnavailable: The store or a directory could not be asked.
        """
        # A request with another credential is a program's, even if a session comes with it.
        if self._admins is None or self._backend is None or "Authorization" in request.headers:
            return False
        outcome = self._backend.authenticate(Absent())
        if not isinstance(outcome, Accept):
            return False
        identity = outcome.identity
        is_whole = identity.scopes is None and not identity.role_account and not identity.actor
        return is_whole and self._admins.met_by(identity)

"""User name and password (RFC 7617), checked in directories, in the configured order; see `compat_auth.passwords`.

To move users from one directory to another, list the new one first: it decides about the users that it knows; the
others log in as before, until the old one can go.
"""

from __future__ import annotations

from typing import ClassVar

from compat_auth.airflow2 import airflow2_contract
from compat_auth.backend import Backend, CredentialKind
from compat_auth.config import Settings
from compat_auth.credentials import Basic, Credential
from compat_auth.directory import Directory
from compat_auth.facts import answers_without_flask
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth.passwords import HashPool, PasswordChecker, RightPassword, WrongPassword
from compat_auth.users import load_password_directories, shared_directory

CLIENT_AUTH = None


class BasicAuthBackend(Backend):
    """Checks Basic credentials in one or more directories."""

    name = "basic_auth"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Basic})
    needs: ClassVar[tuple[str, ...]] = ("[basic_auth] directories",)

    def __init__(
        self,
        directories: tuple[Directory, ...],
        *,
        pool: HashPool,
        realm: str = "Airflow",
        reusable_s: float = 60,
    ) -> None:
        self.pool = pool
        self._checker = PasswordChecker(directories, pool)
        self._realm = realm
        self._reusable_s = reusable_s

    @classmethod
    def from_settings(cls, settings: Settings) -> BasicAuthBackend:
        """Return the backend with the directories of `[basic_auth] directories`.

        Raises:
            BackendNotFound: A directory of that name is not installed.
            ConfigError: A directory's own setting is missing or wrong.
        """
        return cls(
            load_password_directories(settings.basic_auth.directories, settings),
            pool=shared_directory(HashPool, settings),
            realm=settings.basic_auth.realm,
            reusable_s=settings.basic_auth.cache_ttl_s,
        )

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept the user whose password this is, reject every other.

        Raises:
            BackendUnavailable: A directory could not be asked; none after it is.
            Overloaded: Too many checks are waiting.
        """
        if not isinstance(credential, Basic):
            return Skip()
        match self._checker.check(credential.username, credential.password):
            case WrongPassword(reason, names_nobody):
                return Reject(reason, names_nobody=names_nobody)
            case RightPassword(user, directory, token):
                identity = Identity(
                    user.username,
                    self.name,
                    subject=user.username,
                    directory=directory,
                    email=user.email,
                    roles=user.roles,
                    upstream_id=user.upstream_id,
                )
                return Accept(identity, reusable_s=self._reusable_s, token=token)

    def answers_without_flask(self) -> bool:
        """Return whether no directory reads Flask's request."""
        return answers_without_flask(self._checker)

    def challenges(self) -> tuple[str, ...]:
        """Return the Basic challenge, in UTF-8 (RFC 7617 section 2.1)."""
        return (f'Basic realm="{self._realm}", charset="UTF-8"',)


init_app, requires_authentication = airflow2_contract("basic_auth", BasicAuthBackend)

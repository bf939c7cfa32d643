"""User name and password (RFC 7617), checked in directories, in the configured order.

A hash directory that knows the user decides: the next is not asked, so that a user disabled here cannot log in there.
A password directory cannot tell an unknown user from a wrong password, so after its refusal the next one is asked. It
is not asked if the directory says that it knows the user and that this user may not log in: disabled, locked, or with
an expired password.

Each refusal costs one hash: for an unknown or disabled user, or one without a usable hash, a decoy is checked
that is as costly as the costliest of all directories. A password directory takes its own time in addition, for the
names that no hash directory before it knows: list password directories first where that difference matters.

To move users from one directory to another, list the new one first: it decides about the users that it knows; the
others log in as before, until the old one can go.
"""

from __future__ import annotations

from typing import ClassVar

import flask

from compat_auth.airflow2 import airflow2_contract
from compat_auth.backend import Backend, CredentialKind
from compat_auth.config import Settings
from compat_auth.credentials import Basic, Credential, looks_like_personal_token
from compat_auth.directory import (
    DecidingDirectory,
    Directory,
    DirectoryUser,
    HashDirectory,
    PasswordAccepted,
    PasswordDirectory,
    UserDirectory,
    UserRefused,
)
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth.passwords import HashPool, check_hash, decoy_like
from compat_auth.resilience import network_of
from compat_auth.users import load_password_directories

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
        self._directories = directories
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
            pool=HashPool.from_settings(settings),
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
        if looks_like_personal_token(credential.username) or looks_like_personal_token(credential.password):
            # Where personal_token is in the list it has decided; a directory may be a server that writes down what it gets.
            return Reject("a personal token, which no directory is shown")
        for directory in self._directories:
            if isinstance(directory, HashDirectory):
                user = directory.find(credential.username)
                if user is not None:
                    return self._check(directory, user, credential.password)
            else:
                decision = self._ask(directory, credential)
                if isinstance(decision, UserRefused):
                    return Reject(f"{directory.name}: {decision.reason}")
                if decision is not None:
                    return self._accept(directory, decision.user, decision.token)
        self._spend_decoy(credential.password)
        # A password directory may know the user.
        are_all_hashes = all(isinstance(directory, HashDirectory) for directory in self._directories)
        return Reject("no directory knows this user and password", names_nobody=are_all_hashes)

    def challenges(self) -> tuple[str, ...]:
        """Return the Basic challenge, in UTF-8 (RFC 7617 section 2.1)."""
        return (f'Basic realm="{self._realm}", charset="UTF-8"',)

    def _ask(self, directory: PasswordDirectory, credential: Basic) -> PasswordAccepted | UserRefused | None:
        username, password = credential.username, credential.password
        if isinstance(directory, DecidingDirectory):
            return directory.decide(username, password)
        accepted = directory.check(username, password)
        if accepted is None and directory is not self._directories[-1] and isinstance(directory, UserDirectory):
            # The next directory must not let in whom this one has disabled.
            user = directory.find(username)
            if user is not None and not user.active:
                return UserRefused("user is disabled")
        return accepted

    def _check(self, directory: HashDirectory, user: DirectoryUser, password: str) -> Outcome:
        if not user.active or not user.password_hash:
            self._spend_decoy(password)
            return Reject(
                f"{directory.name}: user is disabled" if not user.active else f"{directory.name}: no usable hash"
            )
        if not self.pool.run(lambda: check_hash(user.password_hash, password), client=_client()):
            return Reject(f"{directory.name}: wrong password")
        return self._accept(directory, user, None)

    def _accept(self, directory: Directory, user: DirectoryUser, token: Token | None) -> Outcome:
        if not user.active:
            return Reject(f"{directory.name}: user is disabled")
        identity = Identity(
            user.username,
            self.name,
            subject=user.username,
            directory=directory.name,
            email=user.email,
            roles=user.roles,
            upstream_id=user.upstream_id,
        )
        return Accept(identity, reusable_s=self._reusable_s, token=token)

    def _spend_decoy(self, password: str) -> None:
        decoys = [directory.decoy() for directory in self._directories if isinstance(directory, HashDirectory)]
        if decoys:
            decoy = decoy_like(decoys)
            self.pool.run(lambda: check_hash(decoy, password), client=_client())


def _client() -> str:
    """Return the client that the request counts for: the address, or the network of one IPv6 customer (RFC 6177)."""
    return network_of((flask.request.remote_addr or "") if flask.has_request_context() else "")


init_app, requires_authentication = airflow2_contract("basic_auth", BasicAuthBackend)

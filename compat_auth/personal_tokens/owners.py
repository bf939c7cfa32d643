"""Owners of personal tokens: whether a user still exists, is active, and is the one who created the token."""

from __future__ import annotations

from dataclasses import replace

from compat_auth.authn.users.directories import load_directories
from compat_auth.authn.users.last_answers import LastAnswers
from compat_auth.authn.users.lookup import UserLookup
from compat_auth.authn.users.role_accounts import RoleAccountNames
from compat_auth.config import Settings
from compat_auth.directory import UserDirectory
from compat_auth.errors import ConfigError, NoSuchUser
from compat_auth.facts import answers_without_flask
from compat_auth.identity import Identity

ROLE_DIRECTORY = "role_accounts"
"""The `directory` of an identity that is known only from our own table of role accounts."""


class UnknownOwner(NoSuchUser):
    """No directory knows the user."""


class TokenOwners:
    """Looks up owners in the directories of `[lookup]`, or else in those of `[basic_auth]`. Any thread may use it.

    Args:
        lookup: Looks up the owners.
        needs_key: The upstream needs its own id for a user.
    """

    def __init__(self, lookup: UserLookup, *, needs_key: bool = False) -> None:
        self._lookup = lookup
        self._directories = lookup.directories
        self._needs_key = needs_key

    @classmethod
    def from_settings(cls, settings: Settings) -> TokenOwners:
        """Return the owners for a configuration.

        Raises:
            ConfigError: A directory is misconfigured.
        """
        needs_key = settings.upstream.profile == "airflow-fab"
        lookup = UserLookup.from_settings(settings)
        if not lookup.directories:
            found = load_directories(settings.basic_auth.directories, settings)
            directories = tuple(directory for directory in found if isinstance(directory, UserDirectory))
            lookup = UserLookup(directories, needs_key=needs_key, last_answers=LastAnswers.from_settings(settings))
        return cls(lookup, needs_key=needs_key)

    def answers_without_flask(self) -> bool:
        """Return whether no directory reads Flask's request."""
        return answers_without_flask(self._lookup)

    @property
    def has_directories(self) -> bool:
        """Whether users can be looked up."""
        return bool(self._directories)

    def require_some(self) -> None:
        """Raise unless users can be looked up.

        Raises:
            ConfigError: They cannot, so nobody would notice that an owner has left.
        """
        if not self._directories:
            raise ConfigError(
                "personal_token: no directory says whether an owner is still active; set [lookup] directories, "
                'such as ["mapping"], or name htpasswd, airflow_db or ldap in [basic_auth] directories'
            )

    def find(self, username: str, *, is_role: bool = False) -> Identity:
        """Return the active user of that name, without a backend.

        Args:
            username: As the directory spells it.
            is_role: The name is a role account: it must be in a directory only where the upstream needs an id.

        Raises:
            UnknownOwner: No directory knows the name.
            NoSuchUser: The user is disabled.
            BackendUnavailable: A directory could not be asked.
        """
        asked = Identity(username, "", subject=username, role_account=is_role)
        if is_role and not self._needs_key and not self._knows(username):
            return replace(asked, directory=ROLE_DIRECTORY)
        self.require_some()
        try:
            found = self._lookup.complete(asked)
        except NoSuchUser as error:
            if self._knows(username):
                raise
            raise UnknownOwner(str(error)) from None
        # Directories also find users by e-mail address, and addresses change hands.
        if found.username != username:
            raise UnknownOwner(f"{username!r}: not a user name; the directory found {found.username!r}")
        return found

    def canonical_name(self, name: str) -> str:
        """Return the directory's spelling of a name that a person typed.

        Raises:
            UnknownOwner, NoSuchUser, BackendUnavailable: See `find`.
        """
        for directory in self._directories:
            user = directory.find(name)
            if user is not None:
                return user.username
        raise UnknownOwner(f"{name!r}: no directory knows this user")

    def _knows(self, username: str) -> bool:
        return any(self._lookup.find(directory, username) is not None for directory in self._directories)


class Accounts:
    """The role accounts and users that a credential without a person may act as. Any thread may call.

    Args:
        owners: Where users are looked up.
        names: Those of role accounts.
    """

    def __init__(self, owners: TokenOwners, names: RoleAccountNames) -> None:
        self._owners = owners
        self._names = names

    @classmethod
    def from_settings(cls, settings: Settings) -> Accounts:
        """Return the accounts that a configuration knows; the store is opened at first use.

        Raises:
            ConfigError: A directory is misconfigured, or the database's URL cannot work.
        """
        return cls(TokenOwners.from_settings(settings), RoleAccountNames.from_settings(settings))

    def answers_without_flask(self) -> bool:
        """Return whether no directory reads Flask's request."""
        return answers_without_flask(self._owners)

    def find(self, name: str) -> Identity:
        """Return the role account or active user of that name, without a backend.

        Raises:
            NoSuchUser: There is neither, or the user is disabled.
            BackendUnavailable: The store or a directory could not be asked.
        """
        is_role = self._names.reserves(Identity(name, ""))
        if not is_role and not self._owners.has_directories:
            raise NoSuchUser(
                f"{name!r}: no role account, and there is no directory that could know a user of that name"
            )
        return self._owners.find(name, is_role=is_role)

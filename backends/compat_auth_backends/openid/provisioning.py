"""Creates Airflow users for accounts that have none yet, if an operator wants it.

A user who was here before is not new: a disabled user, one with the same address in other letters, and an account or a
user that was linked once, even if the user has been deleted since.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable, ConfigError, NoSuchUser
from compat_auth.identity import Identity
from compat_auth.openid import AccountLinks
from compat_auth.users import NewUser, UpstreamUsers, shared_directory
from compat_auth_backends.directories.airflow_db import AirflowDatabaseDirectory

MAX_NAME_CHARS = 64  # FAB's columns first_name and last_name


class UserCreator(Protocol):
    """Creates the user of an account that has none. Any thread may call."""

    def create(self, identity: Identity, claims: Mapping[str, Any]) -> None:
        """Create the user of an account whose token has passed every check.

        Args:
            identity: With the e-mail address as name.
            claims: The token's claims.

        Raises:
            NoSuchUser: The account is not new.
            BackendUnavailable: It could not be created, or nobody could say whether it is new.
        """
        ...


class NewcomersInAirflow:
    """Creates users by Airflow's own API.

    Args:
        users: Airflow's API.
        directory: Airflow's database, which then has the created user.
        links: The linked accounts.
        role: The role of created users.
        administrator: Name of the user in whose name they are created.
        backend: The backend that authenticates them.
    """

    def __init__(
        self,
        users: UpstreamUsers,
        directory: AirflowDatabaseDirectory,
        links: AccountLinks,
        *,
        role: str,
        administrator: str,
        backend: str,
    ) -> None:
        self._users = users
        self._directory = directory
        self._links = links
        self._role = role
        self._administrator = administrator
        self._backend = backend

    @classmethod
    def of_google(cls, settings: Settings, links: AccountLinks, *, backend: str) -> NewcomersInAirflow | None:
        """Return the creator that `[google_openid] create_role` asks for; None: nobody is created.

        Raises:
            ConfigError: It cannot work, or would accept strangers.
        """
        google, where = settings.google_openid, "[google_openid] create_role"
        if not google.create_role:
            if google.create_as:
                raise ConfigError("[google_openid] create_as: nothing without create_role; set that, or remove this")
            return None
        if not google.hosted_domains:
            raise ConfigError(
                f"{where}: anybody with a Google account would become a user; set [google_openid] hosted_domains"
            )
        if not google.create_as:
            raise ConfigError(
                f"{where}: nobody to create users; set [google_openid] create_as to an administrator's name"
            )
        if not settings.airflow_db.url.get_secret_value() or "airflow_db" not in (
            settings.lookup.directories or ["airflow_db"]
        ):
            raise ConfigError(f"{where}: created users would not be found; set [airflow_db] url, and look up there")
        return cls(
            UpstreamUsers.from_settings(settings, where=where),
            shared_directory(AirflowDatabaseDirectory, settings),
            links,
            role=google.create_role,
            administrator=google.create_as,
            backend=backend,
        )

    def create(self, identity: Identity, claims: Mapping[str, Any]) -> None:
        """Create the user of an account; see `UserCreator.create`."""
        email = identity.email
        self._links.require_new(identity.subject, email)
        if self._directory.knows(email):
            raise NoSuchUser(f"{email!r}: a user has this address in other letters; see the users of Airflow")
        first_name = _plain(claims.get("given_name")) or _plain(email.partition("@")[0])
        new_user = NewUser(email, first_name, _plain(claims.get("family_name")) or "-", self._role)
        try:
            self._users.add(new_user, self._find_administrator())
        except BackendUnavailable:
            # Of two that add one user at the same time Airflow answers 500 to the second.
            if self._directory.find_by_username(email) is None:
                raise

    def _find_administrator(self) -> Identity:
        found = self._directory.find_by_username(self._administrator)
        if found is None or not found.active:
            raise BackendUnavailable(
                f"[google_openid] create_as: {self._administrator!r} is no active user of Airflow; set an administrator's name"
            )
        return Identity(found.username, self._backend, subject=found.username, upstream_id=found.upstream_id)


def _plain(name: object) -> str:
    if not isinstance(name, str):
        return ""
    return "".join(letter for letter in name if letter.isprintable()).strip()[:MAX_NAME_CHARS].strip()

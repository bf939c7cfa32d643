"""From a vouched-for name (principal, e-mail, subject) to the user that the upstream knows."""

from __future__ import annotations

from dataclasses import replace

from compat_auth.config import Settings
from compat_auth.directory import UserDirectory
from compat_auth.directory_catalog import load_directories
from compat_auth.errors import ConfigError, NoSuchUser
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Reject


class Lookup:
    """Completes identities in the configured directories; the first that knows the name decides.

    Args:
        directories: None: every identity is kept as it is.
        needs_key: The upstream wants its own key for the user, so one that a directory has vouched for is looked up too.
    """

    def __init__(self, directories: tuple[UserDirectory, ...], *, needs_key: bool = False) -> None:
        self._directories = directories
        self._needs_key = needs_key

    @classmethod
    def from_settings(cls, settings: Settings) -> Lookup:
        """Return the look-up of `[lookup] directories`; without any, Airflow's database where its URL is known.

        Raises:
            ConfigError: A directory cannot look up names, or is misconfigured.
        """
        names = settings.lookup.directories
        if not names:
            names = ["airflow_db"] if settings.airflow_db.url.get_secret_value() else []
        directories: list[UserDirectory] = []
        for directory in load_directories(names, settings) if names else ():
            if not isinstance(directory, UserDirectory):
                raise ConfigError(
                    f"lookup.directories: {directory.name!r} only checks passwords; it cannot look up names"
                )
            directories.append(directory)
        return cls(tuple(directories), needs_key=settings.upstream.profile == "airflow-fab")

    def complete(self, identity: Identity) -> Identity:
        """Return the identity with the directory's spelling of the name, key, e-mail address and roles.

        Raises:
            NoSuchUser: No directory knows the name, or the one that does has disabled the user (rule 4 of the
                contract: such a user is refused whatever backend vouches).
            BackendUnavailable: A directory could not be asked.
        """
        known = bool(identity.upstream_id) or (bool(identity.directory) and not self._needs_key)
        if not self._directories or known:
            return identity
        for directory in self._directories:
            user = directory.find(identity.username)
            if user is None:
                continue
            if not user.active:
                raise NoSuchUser(f"{identity.username!r} (from {identity.backend}) is disabled in {directory.name}")
            return replace(
                identity,
                username=user.username,
                directory=directory.name,
                email=user.email or identity.email,
                roles=user.roles or identity.roles,
                upstream_id=user.upstream_id,
            )
        names = ", ".join(directory.name for directory in self._directories)
        raise NoSuchUser(f"{identity.username!r} (from {identity.backend}) is unknown to {names}")

    def accept(self, accepted: Accept) -> Accept | Reject:
        """Return a backend's Accept with the identity completed; a Reject with 403 for a user who must stay out.

        Raises:
            BackendUnavailable: A directory could not be asked.
        """
        try:
            return replace(accepted, identity=self.complete(accepted.identity))
        except NoSuchUser as error:
            return Reject(str(error), status=error.status, vouched=True)

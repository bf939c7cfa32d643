"""From a vouched-for name (principal, e-mail, subject) to the user that the upstream knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from compat_auth.authn.shared import one_per_settings
from compat_auth.authn.users.directories import load_user_directories
from compat_auth.authn.users.last_answers import LastAnswers
from compat_auth.config import Settings
from compat_auth.directory import DirectoryUser, UserDirectory
from compat_auth.errors import NoSuchUser, UnknownUser
from compat_auth.facts import answers_without_flask
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Reject


class UserLookup:
    """Completes identities in the configured directories; the first that knows the name decides.

    If the upstream wants its own key and that directory does not know it (LDAP), the next one is asked for the name
    from the first; the roles and the e-mail address from the first are kept.

    Attributes:
        directories: As given.

    Args:
        directories: None: every identity is kept as it is.
        needs_key: The upstream wants its own key for the user, so one that a directory has vouched for is looked up too.
        reserves: Returns whether a completed identity has a name that belongs to another user; None: all names are
            free.
        last_answers: Recent answers of directory servers, for when they are unavailable; None: nothing is remembered.
    """

    def __init__(
        self,
        directories: tuple[UserDirectory, ...],
        *,
        needs_key: bool = False,
        reserves: Callable[[Identity], bool] | None = None,
        last_answers: LastAnswers | None = None,
    ) -> None:
        self.directories = directories
        self._last_answers = last_answers or LastAnswers(0)
        self._reserves = reserves
        self._needs_key = needs_key

    @classmethod
    def from_settings(cls, settings: Settings, *, reserves: Callable[[Identity], bool] | None = None) -> UserLookup:
        """Return the look-up of `[lookup] directories`; without any, Airflow's database where its URL is known.

        All callers with the same arguments share it, and all look-ups of the same settings share the servers' answers.

        Args:
            settings: With `[lookup]`.
            reserves: See the class.

        Raises:
            ConfigError: A directory cannot look up names, or is misconfigured.
        """
        return one_per_settings(settings, (cls, reserves), lambda: cls._make(settings, reserves))

    @classmethod
    def _make(cls, settings: Settings, reserves: Callable[[Identity], bool] | None) -> UserLookup:
        names = settings.lookup.directories
        if not names:
            names = ["airflow_db"] if settings.airflow_db.url.get_secret_value() else []
        directories = load_user_directories(names, settings) if names else ()
        needs_key = settings.upstream.profile == "airflow-fab"
        return cls(
            directories, needs_key=needs_key, reserves=reserves, last_answers=LastAnswers.from_settings(settings)
        )

    @property
    def finds_keys(self) -> bool:
        """Whether one of the directories may know the upstream's own key for a user."""
        return any(getattr(directory, "knows_upstream_id", True) for directory in self.directories)

    def answers_without_flask(self) -> bool:
        """Return whether no directory reads Flask's request."""
        return all(answers_without_flask(directory) for directory in self.directories)

    def find(self, directory: UserDirectory, username: str) -> DirectoryUser | None:
        """Return a directory's answer about a name; while it is unavailable, its most recent answer.

        Raises:
            BackendUnavailable: It could not be asked, neither now nor a moment ago.
        """
        return self._last_answers.find(directory, username)

    def complete(self, identity: Identity) -> Identity:
        """Return the identity with the directory's spelling of the name, key, e-mail address and roles.

        Raises:
            NoSuchUser: No directory knows the name (`UnknownUser`), or the one that does has disabled the user (rule 4
                of the contract: such a user is refused whatever backend vouches), or the name from the directory is
                reserved.
            BackendUnavailable: A directory could not be asked.
        """
        completed = self._complete(identity)
        # Directories find users by their e-mail addresses, too: the name that is asked for is not the one that counts.
        if self._reserves is not None and self._reserves(completed):
            raise NoSuchUser(
                f"{completed.username!r} (from {identity.backend}) is a role account: only its tokens get in"
            )
        return completed

    def _complete(self, identity: Identity) -> Identity:
        known = bool(identity.upstream_id) or (bool(identity.directory) and not self._needs_key)
        if not self.directories or known:
            return identity
        completed: Identity | None = None
        for directory in self.directories:
            user = self.find(directory, (completed or identity).username)
            if user is None:
                continue
            if not user.active:
                raise NoSuchUser(f"{identity.username!r} (from {identity.backend}) is disabled in {directory.name}")
            completed = _add_key(completed, user) if completed else _complete(identity, user, directory.name)
            if completed.upstream_id or not self._needs_key:
                return completed
        if completed is not None:
            return completed
        names = ", ".join(directory.name for directory in self.directories)
        raise UnknownUser(f"{identity.username!r} (from {identity.backend}) is unknown to {names}")

    def accept(self, accepted: Accept) -> Accept | Reject:
        """Return a backend's Accept with the identity completed; a Reject with 403 for a user who must stay out.

        Raises:
            BackendUnavailable: A directory could not be asked.
        """
        try:
            return replace(accepted, identity=self.complete(accepted.identity))
        except NoSuchUser as error:
            return Reject(str(error), status=error.status, vouched=True)


def _complete(identity: Identity, user: DirectoryUser, directory: str) -> Identity:
    return replace(
        identity,
        username=user.username,
        directory=directory,
        email=user.email or identity.email,
        roles=user.roles or identity.roles,
        upstream_id=user.upstream_id,
    )


def _add_key(completed: Identity, user: DirectoryUser) -> Identity:
    return replace(
        completed,
        username=user.username,
        email=completed.email or user.email,
        roles=completed.roles or user.roles,
        upstream_id=user.upstream_id,
    )

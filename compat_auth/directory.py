"""Where passwords and users live, behind `basic_auth` and the look-ups.

Two shapes for passwords, because they leak differently. A hash directory hands out the stored hash, so that `basic_auth`
can spend the same time on an unknown user as on a wrong password, whatever the order of directories. A
password directory (an LDAP server, PAM, the upstream) keeps its secrets and only says yes or no. A user directory is
for look-ups: every hash directory is one, an LDAP server is one too, and a mapping file is nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from compat_auth.identity import Token

if TYPE_CHECKING:
    from compat_auth.config import Settings

__all__ = [
    "DecidingDirectory",
    "Directory",
    "DirectoryFactory",
    "DirectoryUser",
    "HashDirectory",
    "PasswordAccepted",
    "PasswordDirectory",
    "UserDirectory",
    "UserRefused",
    "accepted_or_none",
]


@dataclass(frozen=True, slots=True)
class DirectoryUser:
    """A user as a directory knows it.

    Attributes:
        username: The canonical spelling, whatever the caller typed.
        active: False: refused, whatever the password.
        password_hash: In the format of its scheme; "" when the user cannot log in by password.
        email: E-mail address, or "".
        roles: Role names, sorted.
        upstream_id: Key of the user in the upstream's database (Airflow: `ab_user.id`), or "".
    """

    username: str
    active: bool = True
    password_hash: str = field(default="", repr=False)
    email: str = ""
    roles: tuple[str, ...] = ()
    upstream_id: str = ""


@dataclass(frozen=True, slots=True)
class PasswordAccepted:
    """A password directory's yes.

    Attributes:
        user: Who it is.
        token: A token for the upstream that the check has yielded, or None.
    """

    user: DirectoryUser
    token: Token | None = None


@dataclass(frozen=True, slots=True)
class UserRefused:
    """A directory's no to a user whom it knows and who may not log in, so that no other directory is asked.

    Attributes:
        reason: For logs only, such as "locked" or "password expired".
    """

    reason: str


@runtime_checkable
class UserDirectory(Protocol):
    """Users who can be looked up by name. Every method may be called from any thread.

    One that never knows the upstream's own key says so by a class attribute `knows_upstream_id = False`; one that asks a
    server, which may be unavailable, by `is_server = True`.
    """

    name: str

    def find(self, username: str) -> DirectoryUser | None:
        """Return the user of that name (or e-mail, where the directory allows it), active or not; None if unknown.

        Raises:
            BackendUnavailable: The directory could not be asked.
        """
        ...


@runtime_checkable
class HashDirectory(UserDirectory, Protocol):
    """Users with their password hashes."""

    def decoy(self) -> str:
        """Return a hash of no password, as costly to check as those of this directory's users."""
        ...


@runtime_checkable
class PasswordDirectory(Protocol):
    """A source that checks the password itself. Every method may be called from any thread."""

    name: str

    def check(self, username: str, password: str) -> PasswordAccepted | None:
        """Return the user when the password is right; None when it is wrong or the user is unknown or disabled.

        Raises:
            BackendUnavailable: The directory could not be asked.
        """
        ...


@runtime_checkable
class DecidingDirectory(PasswordDirectory, Protocol):
    """A password directory that can tell a user who may not log in from a wrong password and from an unknown user."""

    def decide(self, username: str, password: str) -> PasswordAccepted | UserRefused | None:
        """Return the user when the password is right and the user may log in; None where another directory may decide.

        Raises:
            BackendUnavailable: The directory could not be asked.
        """
        ...


def accepted_or_none(decision: PasswordAccepted | UserRefused | None) -> PasswordAccepted | None:
    """Return the value that `PasswordDirectory.check` must return for a decision."""
    return decision if isinstance(decision, PasswordAccepted) else None


Directory = HashDirectory | PasswordDirectory
"""A directory that `[basic_auth] directories` may name."""


class DirectoryFactory(Protocol):
    """The type of the objects in the entry-point group `compat_auth.directories`.

    Attributes:
        needs: Settings without which it cannot work, for `compat-auth backends`.
    """

    needs: tuple[str, ...]

    def from_settings(self, settings: Settings) -> Directory | UserDirectory:
        """Return the directory as the configuration wants it.

        Raises:
            ConfigError: A setting is missing or wrong.
        """
        ...

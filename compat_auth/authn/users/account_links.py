"""The links from accounts of an identity provider to user names.

An e-mail address can change hands; the provider's own name for an account (`sub`) cannot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from compat_auth.config import Settings
from compat_auth.errors import InvalidToken, NoSuchUser
from compat_auth.store.migration import open_store
from compat_auth.store.tables.pinned_subjects import PinnedSubjects


class AccountLinks(Protocol):
    """The links of one issuer; the place to pin an account at its first use. Every method may be called from any thread."""

    def name_of(self, subject: str, claimed: Callable[[], str]) -> str:
        """Return the name to look up for an account.

        Args:
            subject: `sub`.
            claimed: Reads the name that the token gives the account now; not called if there is a link.

        Raises:
            NoSuchUser: The claimed name belongs to another account.
            InvalidToken: There is no link, and the token gives no name either.
            BackendUnavailable: The links could not be read.
        """
        ...

    def require_new(self, subject: str, username: str) -> None:
        """Check that neither the account nor the user has ever been linked.

        Raises:
            NoSuchUser: One of them has.
            BackendUnavailable: The links could not be read.
        """
        ...

    def settle(self, subject: str, username: str) -> None:
        """Record the user of the account, once the user is known to be active.

        Raises:
            NoSuchUser: The account is another user's, or the user another account's.
            BackendUnavailable: The links could not be read or written.
        """
        ...


class ConfiguredLinks:
    """Links that an operator has configured; an account without one has the name that it claims.

    Args:
        names: Subject to name.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = dict(names)
        self._linked = {name.casefold() for name in names.values()}

    def name_of(self, subject: str, claimed: Callable[[], str]) -> str:
        """Return the name to look up for an account.

        Raises:
            NoSuchUser: The claimed name is linked to another account.
            InvalidToken: There is no link, and the token gives no name either.
        """
        linked = self._names.get(subject)
        if linked is not None:
            return linked
        name = claimed()
        self.require_free(subject, name)
        return name

    def require_new(self, subject: str, username: str) -> None:
        """Check that neither the account nor the name is configured.

        Raises:
            NoSuchUser: One of them is.
        """
        if self.has(subject):
            raise NoSuchUser(
                f"{subject!r} is linked to {self._names[subject]!r}, who is gone; see the setting `subjects`"
            )
        self.require_free(subject, username)

    def settle(self, subject: str, username: str) -> None:
        """Record nothing: the operator's links decide."""

    def has(self, subject: str) -> bool:
        """Return whether the account is configured."""
        return subject in self._names

    def require_free(self, subject: str, name: str) -> None:
        """Check that no account is configured for a name.

        Raises:
            NoSuchUser: One is, and it is not this one.
        """
        if name.casefold() in self._linked:
            raise NoSuchUser(f"{name!r} is linked to an account that is not {subject!r}; see the setting `subjects`")


class FirstUseLinks:
    """The links of one issuer: the operator's, else those that were pinned at first use.

    Args:
        issuer: The issuer of the accounts.
        names: Subject to name, as configured; they take precedence over pinned links.
        pins: The store.
        now: Seconds since the epoch.
    """

    def __init__(
        self, issuer: str, names: Mapping[str, str], pins: PinnedSubjects, *, now: Callable[[], float] = time.time
    ) -> None:
        self._issuer = issuer
        self._configured = ConfiguredLinks(names)
        self._pins = pins
        self._now = now

    @classmethod
    def from_settings(cls, settings: Settings, issuer: str, names: Mapping[str, str]) -> FirstUseLinks:
        """Return the links of an issuer, pinned in `database_url`; opens nothing yet.

        Raises:
            ConfigError: The database's URL cannot work.
        """
        return cls(issuer, names, PinnedSubjects(open_store(settings.database_url.get_secret_value())))

    def name_of(self, subject: str, claimed: Callable[[], str]) -> str:
        """Return the name to look up for an account.

        Raises:
            NoSuchUser: The name, pinned or claimed, belongs to another account.
            InvalidToken: There is no link, and the token gives no name either.
            BackendUnavailable: The store could not be asked.
        """
        if self._configured.has(subject):
            return self._configured.name_of(subject, claimed)
        pinned = self._pins.find(self._issuer, subject)
        if pinned is None:
            return self._configured.name_of(subject, claimed)
        for name in (pinned, _name_or_none(claimed)):
            if name is not None:
                # Another account may have been linked to that name since; its link counts.
                self._configured.require_free(subject, name)
        return pinned

    def require_new(self, subject: str, username: str) -> None:
        """Check that neither the account nor the user has ever been linked.

        Raises:
            NoSuchUser: One of them has.
            BackendUnavailable: The store could not be asked.
        """
        self._configured.require_new(subject, username)
        pinned = self._pins.find(self._issuer, subject)
        if pinned is not None:
            raise NoSuchUser(f"{subject!r} is linked to {pinned!r}, who is gone; see: compat-auth users pins")
        if any(pin.issuer == self._issuer for pin in self._pins.of_user(username)):
            raise NoSuchUser(
                f"{username!r} was linked to an account that is not {subject!r}; see: compat-auth users pins"
            )

    def settle(self, subject: str, username: str) -> None:
        """Link the account to the user from now on, now that the user is known to be active.

        Raises:
            NoSuchUser: The account is another user's, or the user another account's.
            BackendUnavailable: The store could not be asked.
        """
        if not self._configured.has(subject):
            self._pins.pin(self._issuer, subject, username, now=int(self._now()))


def _name_or_none(claimed: Callable[[], str]) -> str | None:
    try:
        return claimed()
    except (InvalidToken, NoSuchUser):
        return None

"""Which name an account of an identity provider stands for, once the two have been linked.

An e-mail address can change hands; the provider's own name for an account (`sub`) cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from compat_auth.errors import NoSuchUser


class SubjectLinks(Protocol):
    """The links of one issuer; the place to pin an account at its first use. Every method may be called from any thread."""

    def name_of(self, subject: str, claimed: Callable[[], str]) -> str:
        """Return the name to look up for an account.

        Args:
            subject: `sub`.
            claimed: Reads the name that the token gives the account now; not called where there is a link.

        Raises:
            NoSuchUser: The claimed name belongs to another account.
            InvalidToken: There is no link, and the token gives no name either.
            BackendUnavailable: The links could not be read.
        """
        ...


class ConfiguredLinks:
    """Links that an operator has written down; an account without one goes by the name that it claims.

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
        if name.casefold() in self._linked:
            raise NoSuchUser(f"{name!r} is linked to another account than {subject!r}; see the setting `subjects`")
        return name

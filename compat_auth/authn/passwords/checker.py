"""User name and password, checked in directories, in the configured order.

A hash directory that knows the user decides: the next is not asked, so that a user disabled here cannot come in there.
A password directory cannot tell an unknown user from a wrong password, so after its no the next one is asked. It is not
asked where the directory says that it knows the user and that this user may not log in: disabled, locked, or with an
expired password.

A refusal costs one hash: for an unknown or disabled user, or one without a usable hash, a decoy is checked that is as
costly as the costliest of all directories. A password directory takes its own time in addition, for the names that
no hash directory before it knows: list password directories first where that difference matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from compat_auth.authn.passwords.hash_pool import HashPool
from compat_auth.authn.passwords.hashes import check_hash, decoy_like
from compat_auth.concurrency.rate_limit import network_of
from compat_auth.crypto.personal_token_format import looks_like_one
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
from compat_auth.facts import answers_without_flask, client_address
from compat_auth.identity import Token


@dataclass(frozen=True, slots=True)
class RightPassword:
    """The password is right, and the user may log in.

    Attributes:
        user: Who it is.
        directory: Name of the directory that knows the user.
        token: A token for the upstream that the check has yielded, or None.
    """

    user: DirectoryUser
    directory: str
    token: Token | None = None


@dataclass(frozen=True, slots=True)
class WrongPassword:
    """Nobody gets in with this name and password.

    Attributes:
        reason: For logs only.
        names_nobody: No directory knows the name.
    """

    reason: str
    names_nobody: bool = False


Checked: TypeAlias = RightPassword | WrongPassword


class PasswordChecker:
    """Checks passwords in one or more directories. Any thread may call.

    Args:
        directories: In the order in which they are asked.
        pool: Where hashes are computed.
    """

    def __init__(self, directories: tuple[Directory, ...], pool: HashPool) -> None:
        self.directories = directories
        self.pool = pool

    def answers_without_flask(self) -> bool:
        """Return whether no directory reads Flask's request."""
        return all(answers_without_flask(directory) for directory in self.directories)

    def check(self, username: str, password: str) -> Checked:
        """Return whose password this is, or why it is nobody's.

        Raises:
            BackendUnavailable: A directory could not be asked; none after it is.
            Overloaded: Too many checks are waiting.
        """
        if looks_like_one(username) or looks_like_one(password):
            # A directory may be a server that writes down what it gets.
            return WrongPassword("a personal token, which no directory is shown")
        for directory in self.directories:
            if isinstance(directory, HashDirectory):
                user = directory.find(username)
                if user is not None:
                    return self._check(directory, user, password)
            else:
                decision = self._ask(directory, username, password)
                if isinstance(decision, UserRefused):
                    return WrongPassword(f"{directory.name}: {decision.reason}")
                if decision is not None:
                    return _right(directory, decision.user, decision.token)
        self._spend_decoy(password)
        # A password directory may know the user.
        are_all_hashes = all(isinstance(directory, HashDirectory) for directory in self.directories)
        return WrongPassword("no directory knows this user and password", names_nobody=are_all_hashes)

    def _ask(self, directory: PasswordDirectory, username: str, password: str) -> PasswordAccepted | UserRefused | None:
        if isinstance(directory, DecidingDirectory):
            return directory.decide(username, password)
        accepted = directory.check(username, password)
        if accepted is None and directory is not self.directories[-1] and isinstance(directory, UserDirectory):
            # The next directory must not let in whom this one has disabled.
            user = directory.find(username)
            if user is not None and not user.active:
                return UserRefused("user is disabled")
        return accepted

    def _check(self, directory: HashDirectory, user: DirectoryUser, password: str) -> Checked:
        if not user.active or not user.password_hash:
            self._spend_decoy(password)
            problem = "no usable hash" if user.active else "user is disabled"
            return WrongPassword(f"{directory.name}: {problem}")
        if not self.pool.run(lambda: check_hash(user.password_hash, password), client=_client()):
            return WrongPassword(f"{directory.name}: wrong password")
        return _right(directory, user, None)

    def _spend_decoy(self, password: str) -> None:
        decoys = [directory.decoy() for directory in self.directories if isinstance(directory, HashDirectory)]
        if decoys:
            decoy = decoy_like(decoys)
            self.pool.run(lambda: check_hash(decoy, password), client=_client())


def _right(directory: Directory, user: DirectoryUser, token: Token | None) -> Checked:
    if not user.active:
        return WrongPassword(f"{directory.name}: user is disabled")
    return RightPassword(user, directory.name, token)


def _client() -> str:
    """Return whom the request counts against: the address, or the network that one IPv6 customer has (RFC 6177)."""
    return network_of(client_address())

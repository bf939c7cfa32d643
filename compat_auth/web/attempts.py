"""How often somebody may try to log in, and ask for tokens: in each process."""

from __future__ import annotations

import time
from collections.abc import Callable

from compat_auth.errors import TooManyRequests
from compat_auth.tally import Tally, network_of

PER_CLIENT = 20
# By name, whatever the address: guesses from many hosts. A minute, so that nobody is locked out for long.
PER_USER = 20


class LoginAttempts:
    """Counts the tries of the last minute. Any thread may use it.

    Args:
        now: Clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._of_client, self._of_user = Tally(PER_CLIENT, now), Tally(PER_USER, now)

    def wait_s(self, client: str, username: str) -> int:
        """Count a try; return 0 when it may go on, else the seconds after which another may."""
        for tally, key in ((self._of_client, network_of(client)), (self._of_user, username.casefold())):
            if not tally.count(key):
                return max(1, tally.wait_s(key))
        return 0


class TokenAttempts:
    """Counts wrong credentials by address, and given tokens by user. Any thread may use it.

    Not wrong credentials by user: whoever guesses at somebody's password would keep that somebody out.

    Args:
        failures: Wrong credentials of an address in a minute.
        tokens: Tokens for one user in a minute.
        now: Clock, in seconds.
    """

    def __init__(self, failures: int, tokens: int, now: Callable[[], float] = time.time) -> None:
        self._failures, self._tokens = Tally(failures, now), Tally(tokens, now)

    def require_patience(self, client: str) -> None:
        """Return when another credential of this address may be looked at.

        Raises:
            TooManyRequests: It has shown too many wrong ones.
        """
        if wait_s := self._failures.wait_s(network_of(client)):
            raise TooManyRequests("too many wrong credentials from this address", wait_s)

    def count_failure(self, client: str) -> None:
        """Remember that a credential was wrong."""
        self._failures.count(network_of(client))

    def count_token(self, username: str) -> None:
        """Remember that a user is to get a token.

        Raises:
            TooManyRequests: The user has had too many.
        """
        if not self._tokens.count(username.casefold()):
            raise TooManyRequests("too many tokens for this user", max(1, self._tokens.wait_s(username.casefold())))

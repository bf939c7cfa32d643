"""The errors of a client: the branch `ClientError` of the tree that `compat_auth.errors` draws.

`from compat_auth.errors import LoginRefused` gives the same classes.
"""

from __future__ import annotations

from compat_auth.errors import CompatAuthError


class ClientError(CompatAuthError):
    """An error that the user of our client must solve."""


class UnsafeAddress(ClientError):
    """A secret would go to an address that is ambiguous, or unprotected on its way."""

    exit_code = 78


class LoginRefused(ClientError):
    """The server does not want the credential, or there is none to show."""

    status = 401
    exit_code = 77  # EX_NOPERM
    title = "Unauthorized"


class NotLoggedIn(LoginRefused):
    """No login is saved for this server, or several are and none was named."""


class CurlLineRefused(ClientError):
    """A command line of curl would show the token to somebody else, or cannot be read with certainty."""

    exit_code = 2


class NoKeyring(ClientError):
    """The system has no keyring that keeps a secret from others' eyes, or it is locked."""

    exit_code = 69


class LoginUnavailable(ClientError):
    """The server gave no token: not there, not now, or not the server that it should be."""

    status = 502
    exit_code = 69
    title = "Bad gateway"

"""Every error this project raises on purpose.

The tree, and who must act on each::

    CompatAuthError
    ├── ConfigError                    an operator edits the configuration          exit 78
    │   ├── AddressTaken               ... or ends the program that has the address exit 69
    │   ├── BackendNotFound            ... names a backend that is installed
    │   └── KeyFileError               ... mends or protects a key file
    ├── BackendUnavailable             an operator mends the source; callers retry  503, exit 69
    │   ├── NewerTables                ... installs the version of the tables       503, exit 78
    │   └── Overloaded                 nobody: too much is waiting, callers retry   503
    ├── RequestRefused                 the caller changes the request
    │   ├── BadRequest                 ... its shape                                400
    │   │   ├── AmbiguousCredentials   ... sends one credential, not two            400
    │   │   ├── InvalidPath            ... its path                                 400
    │   │   ├── HeadersTooLarge        ... sends less                               431
    │   │   ├── BodyTooLarge           ... sends less                               413
    │   │   ├── BodyTooSlow            ... sends it sooner                          408
    │   │   ├── UnsupportedMediaType   ... its media type                           415
    │   │   ├── IncompleteLogin        ... sends user name and password             400
    │   │   └── TokenRequestRefused    ... its parameters (RFC 6749 section 5.2)    400
    │   ├── StageRefusal               ... uses another login: this one ends        410
    │   ├── TooManyRequests            nobody: wait, then try again                 429
    │   ├── MalformedCredentials       ... the form of the credential               401
    │   ├── NotAuthenticated           ... the credential                           401
    │   │   └── TokenEnded             ... the upstream's token: it was taken back  401
    │   ├── NotPermitted               nothing helps: known, but not allowed        403
    │   │   └── InsufficientScope      ... brings a credential with a wider scope   403
    │   ├── NoSuchPage                 ... the path                                 404
    │   ├── MethodNotAllowed           ... the method                               405
    │   ├── NoSuchToken                ... the id                                   404, exit 2
    │   ├── NameTaken                  ... the name, or deletes what has it         409, exit 2
    │   ├── InvalidValue               ... what a field says                        422, exit 2
    │   └── NotImplementedHere         ... uses another protocol                    501
    ├── InvalidToken                   the caller brings another JWT                401
    ├── InvalidSession                 the caller logs in again                     401
    ├── SessionTooLarge                an operator stores less in a session         500
    ├── NoActiveKey                    an operator creates a signing key            503, exit 69
    ├── NoSuchUser                     an operator links the identity to a user     403
    │   └── UnknownUser                ... or adds one: no directory has the name   403
    ├── ClientError                    the user of our client must act
    │   ├── UnsafeAddress              ... names an address that protects a secret  exit 78
    │   ├── LoginRefused               ... brings another credential                401, exit 77
    │   │   └── NotLoggedIn            ... runs compat-auth login                   401, exit 77
    │   ├── CurlLineRefused            ... changes the command line                 exit 2
    │   ├── NoKeyring                  ... sets up a keyring, or does without       exit 69
    │   └── LoginUnavailable           ... tries again, or asks an operator       502, exit 69
    └── UpstreamError
        ├── UpstreamUnreachable        an operator starts the upstream              502
        └── UpstreamTimeout            an operator looks at the upstream            504

The HTTP status and the exit code live on the class: nobody maps errors by hand.

`ClientError` and those below it are defined in `compat_auth.client.errors`. They are loaded from here at the first use
of their names: this module imports nothing, so that every other may import it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compat_auth.client.errors import (
        ClientError,
        CurlLineRefused,
        LoginRefused,
        LoginUnavailable,
        NoKeyring,
        NotLoggedIn,
        UnsafeAddress,
    )

__all__ = [
    "AddressTaken",
    "AmbiguousCredentials",
    "BackendNotFound",
    "BackendUnavailable",
    "BadRequest",
    "BodyTooLarge",
    "BodyTooSlow",
    "ClientError",
    "CompatAuthError",
    "ConfigError",
    "CurlLineRefused",
    "HeadersTooLarge",
    "IncompleteLogin",
    "InsufficientScope",
    "InvalidPath",
    "InvalidSession",
    "InvalidToken",
    "InvalidValue",
    "KeyFileError",
    "LoginRefused",
    "LoginUnavailable",
    "MalformedCredentials",
    "MethodNotAllowed",
    "NameTaken",
    "NewerTables",
    "NoActiveKey",
    "NoKeyring",
    "NoSuchPage",
    "NoSuchToken",
    "NoSuchUser",
    "NotAuthenticated",
    "NotImplementedHere",
    "NotLoggedIn",
    "NotPermitted",
    "Overloaded",
    "RequestRefused",
    "SessionTooLarge",
    "StageRefusal",
    "TokenEnded",
    "TokenRequestRefused",
    "TooManyRequests",
    "UnknownUser",
    "UnsafeAddress",
    "UnsupportedMediaType",
    "UpstreamError",
    "UpstreamTimeout",
    "UpstreamUnreachable",
]

_OF_CLIENT = frozenset(
    {
        "ClientError",
        "CurlLineRefused",
        "LoginRefused",
        "LoginUnavailable",
        "NoKeyring",
        "NotLoggedIn",
        "UnsafeAddress",
    }
)


class CompatAuthError(Exception):
    """The base of every error raised on purpose.

    Attributes:
        status: HTTP status when the error ends a request (RFC 9110 section 15).
        exit_code: Process status when the error ends a command (sysexits.h).
        title: One stable line for `application/problem+json` (RFC 9457 section 3.1.3).
        retry_after_s: Seconds after which trying again makes sense, or None.
    """

    status = 500
    exit_code = 70  # EX_SOFTWARE
    title = "Internal error"
    retry_after_s: int | None = None


class ConfigError(CompatAuthError):
    """An operator must edit the configuration."""

    exit_code = 78  # EX_CONFIG
    title = "Configuration error"


class AddressTaken(ConfigError):
    """Another program listens on the address: perhaps the one before us, which is about to end."""

    exit_code = 69  # EX_UNAVAILABLE: trying again may help
    title = "Address taken"


class BackendNotFound(ConfigError):
    """The configuration names a backend or directory that is not installed."""


class KeyFileError(ConfigError):
    """A key file cannot be trusted or read: wrong mode, wrong shape, or not there."""


class BackendUnavailable(CompatAuthError):
    """The source that could tell right from wrong could not be asked; nobody is let in meanwhile."""

    status = 503
    exit_code = 69  # EX_UNAVAILABLE
    title = "Authentication source unavailable"
    retry_after_s = 5


class NewerTables(BackendUnavailable):
    """Another version of this program has changed the tables, and this one would not work on them."""

    exit_code = 78


class Overloaded(BackendUnavailable):
    """More work is waiting than may wait; the caller may try again."""

    title = "Too many authentication requests"
    retry_after_s = 1


class RequestRefused(CompatAuthError):
    """The caller must change the request."""

    status = 400
    title = "Request refused"


class BadRequest(RequestRefused):
    """The request has a shape that two parties could read differently, so nobody gets to."""

    title = "Bad request"


class AmbiguousCredentials(BadRequest):
    """More than one credential was presented in one request (RFC 9110 section 11.6.2 allows one)."""


class InvalidPath(BadRequest):
    """The path has more than one reading: dot segments, double encoding, control characters."""


class HeadersTooLarge(BadRequest):
    """The header section is larger than the limit (RFC 6585 section 5)."""

    status = 431
    title = "Request header fields too large"


class BodyTooLarge(BadRequest):
    """The body is larger than one of our pages takes (RFC 9110 section 15.5.14)."""

    status = 413
    title = "Content too large"


class BodyTooSlow(BadRequest):
    """The body must be checked before the request is forwarded, and did not arrive in time (RFC 9110 section 15.5.9)."""

    status = 408
    title = "Request timeout"


class UnsupportedMediaType(BadRequest):
    """The body is neither JSON nor a form (RFC 9110 section 15.5.16)."""

    status = 415
    title = "Unsupported media type"


class IncompleteLogin(BadRequest):
    """User name or password is missing, empty, or not a text."""


class TokenRequestRefused(BadRequest):
    """A request for a token asks for what there is not (RFC 6749 section 5.2, RFC 8693 section 2.2.2).

    Args:
        code: `error`, such as "invalid_scope".
        message: `error_description`; ASCII without quotes and backslashes.

    Attributes:
        code: As given.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class StageRefusal(RequestRefused):
    """The login that was used is going to end, and is refused now: for a while, or for good (`compat-auth stages`).

    Args:
        message: Which login, and what to do; the caller sees it.
        status: 401, 410 (RFC 9110 section 15.5.11) or 429.
        retry_after_s: When the login works again; None: nobody knows.
        headers: Further headers of the response.
        challenges: Of a 401: those of the logins that still work.

    Attributes:
        headers: As given.
        challenges: As given.
    """

    status = 410
    title = "Gone"

    def __init__(
        self,
        message: str,
        status: int = 410,
        *,
        retry_after_s: int | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        challenges: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.title = {401: "Unauthorized", 410: "Gone", 429: "Too many requests"}[status]
        self.retry_after_s = retry_after_s
        self.headers = headers
        self.challenges = challenges


class TooManyRequests(RequestRefused):
    """The caller has tried too often (RFC 6585 section 4).

    Args:
        message: What was too much.
        retry_after_s: When the next try may come.
    """

    status = 429
    title = "Too many requests"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class MalformedCredentials(RequestRefused):
    """The Authorization header does not follow the grammar of its scheme."""

    status = 401
    title = "Unauthorized"


class NotAuthenticated(RequestRefused):
    """No credential was presented, or the presented one is wrong; the audit log knows which."""

    status = 401
    title = "Unauthorized"


class TokenEnded(NotAuthenticated):
    """A Bearer of the upstream's is no longer good, though it has not reached its end."""


class NotPermitted(RequestRefused):
    """The caller is known but not allowed."""

    status = 403
    title = "Forbidden"


class InsufficientScope(NotPermitted):
    """The credential is limited, and not for this (RFC 6750 section 3.1).

    Args:
        message: What is refused.
        needed: The scopes that would do, as OAuth spells them, or "".

    Attributes:
        needed: As given.
    """

    def __init__(self, message: str, needed: str) -> None:
        super().__init__(message)
        self.needed = needed


class NoSuchPage(RequestRefused):
    """None of our own pages has this path."""

    status = 404
    title = "Not found"


class MethodNotAllowed(RequestRefused):
    """The page has no such method (RFC 9110 section 15.5.6)."""

    status = 405
    title = "Method not allowed"


class NoSuchToken(RequestRefused):
    """No personal token of that id is the caller's to know of."""

    status = 404
    exit_code = 2
    title = "Not found"


class NameTaken(RequestRefused):
    """The new object's name is taken (RFC 9110 section 15.5.10)."""

    status = 409
    exit_code = 2
    title = "Conflict"


class InvalidValue(RequestRefused):
    """A field has a value that makes no sense there (RFC 9110 section 15.5.21)."""

    status = 422
    exit_code = 2
    title = "Unprocessable content"


class NotImplementedHere(RequestRefused):
    """The caller asked for a protocol that is not implemented here."""

    status = 501
    title = "Not implemented"


class InvalidToken(CompatAuthError):
    """A JWT is not one that we accept; the message says why, for logs only."""

    status = 401
    title = "Unauthorized"


class InvalidSession(CompatAuthError):
    """A session cookie is not one that we accept; the message says why, for logs only."""

    status = 401
    title = "Unauthorized"


class SessionTooLarge(CompatAuthError):
    """More was stored in a session than fits into a cookie."""


class NoActiveKey(CompatAuthError):
    """Every signing key is still to come or has retired."""

    status = 503
    exit_code = 69
    title = "No signing key"
    retry_after_s = 60


class NoSuchUser(CompatAuthError):
    """The identity is vouched for, but the upstream has no active user for it."""

    status = 403
    title = "Forbidden"


class UnknownUser(NoSuchUser):
    """The identity is vouched for, but no look-up knows the name, not even as a disabled user's."""


class UpstreamError(CompatAuthError):
    """The upstream did not answer as it should."""

    status = 502
    exit_code = 69
    title = "Bad gateway"


class UpstreamUnreachable(UpstreamError):
    """No connection to the upstream, or it ended before an answer came."""


class UpstreamTimeout(UpstreamError):
    """The upstream did not answer in time."""

    status = 504
    title = "Gateway timeout"


# Type checkers have the imports above: to them, a name that is not there stays an error.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> type[CompatAuthError]:
        """Return an error of the client; all others are here (PEP 562).

        Raises:
            AttributeError: There is no error of that name.
        """
        if name in _OF_CLIENT:
            found: type[CompatAuthError] = getattr(importlib.import_module("compat_auth.client.errors"), name)
            # The next use does not come here.
            globals()[name] = found
            return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names that are here, and those that come at their first use."""
    return sorted({*globals(), *_OF_CLIENT})

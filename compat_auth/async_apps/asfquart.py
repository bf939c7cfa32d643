"""asfquart's names for requirements and refusals, so that views which use them need no other words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, overload

from compat_auth.async_apps.guard import guard_async_view
from compat_auth.errors import ConfigError
from compat_auth.guard import View, decorator_of

_REFUSALS = range(400, 600)


class Requirements:
    """asfquart's requirements by their names, as `require` takes them.

    A role stands for each: a token handler, or what the app wrote as its session, gives it.
    """

    mfa_enabled = "mfa"
    committer = "known"
    member = "role:member"
    chair = "role:chair"
    root = "role:root"
    pmc_member = "role:pmc_member"
    roleacct = "role_account"


class AuthenticationFailed(Exception):
    """A view's own refusal; the caller gets the message, and where nobody is logged in a browser gets the login page.

    Args:
        message: For the caller.
        errorcode: HTTP status, 400 to 599.

    Raises:
        ConfigError: The status is none of an error.
    """

    def __init__(self, message: str = "Authentication failed", errorcode: int = HTTPStatus.FORBIDDEN) -> None:
        if errorcode not in _REFUSALS:
            raise ConfigError(f"AuthenticationFailed: errorcode {errorcode}: not from 400 to 599")
        super().__init__(message)
        self.message = message
        self.errorcode = int(errorcode)


@overload
def require(given: View, /) -> View: ...


@overload
def require(
    given: str | Iterable[str] | None = None,
    /,
    *,
    all_of: str | Iterable[str] = (),
    any_of: str | Iterable[str] = (),
) -> Callable[[View], View]: ...


def require(
    given: View | str | Iterable[str] | None = None,
    /,
    *,
    all_of: str | Iterable[str] = (),
    any_of: str | Iterable[str] = (),
) -> Any:
    """Return a decorator for a view that asks more of the caller than being known; see `compat_auth.extension.require`.

    Raises:
        ConfigError: A requirement is unknown; raised where the view is decorated, not when it is called.
    """
    return decorator_of(guard_async_view, given, all_of, any_of)

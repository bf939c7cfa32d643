"""The error tree: who must act stands on the class."""

from __future__ import annotations

import re

import pytest

from compat_auth import errors
from compat_auth.client import errors as client_errors
from compat_auth.errors import CompatAuthError

EVERY_ERROR: list[type[CompatAuthError]] = [getattr(errors, name) for name in errors.__all__]
# The type checkers read these names; a program that has not imported the client loads it at their first use.
OF_CLIENT = (
    "ClientError",
    "CurlLineRefused",
    "LoginRefused",
    "LoginUnavailable",
    "NoKeyring",
    "NotLoggedIn",
    "UnsafeAddress",
)


def test_the_drawn_tree_has_every_error_and_nothing_else() -> None:
    drawn = set(re.findall(r"^ *[│├└─ ]*(?:[├└]── )?(\w+Error|[A-Z]\w+)(?= {2}|$)", errors.__doc__ or "", re.MULTILINE))

    assert drawn == set(errors.__all__)


def test_every_error_of_the_two_modules_is_a_public_name() -> None:
    defined = {
        name
        for module in (errors, client_errors)
        for name, found in vars(module).items()
        if isinstance(found, type) and issubclass(found, CompatAuthError)
    }

    assert defined == set(errors.__all__)


@pytest.mark.parametrize("name", OF_CLIENT)
def test_an_error_of_the_client_is_the_same_class_under_both_names(name: str) -> None:
    assert getattr(errors, name) is getattr(client_errors, name)


def test_the_names_loaded_late_are_the_errors_of_the_client() -> None:
    defined = {
        name for name, found in vars(client_errors).items() if isinstance(found, type) and found is not CompatAuthError
    }

    assert defined == set(OF_CLIENT)
    assert all(issubclass(getattr(errors, name), errors.ClientError) for name in OF_CLIENT)


def test_a_name_that_is_no_error_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NoSuchError"):
        errors.NoSuchError  # type: ignore[attr-defined]  # noqa: B018  # that is the question


def test_every_error_stands_in_the_drawn_tree() -> None:
    words = (errors.__doc__ or "").split()

    missing = [error.__name__ for error in EVERY_ERROR if error.__name__ not in words]

    assert len(EVERY_ERROR) > 10
    assert missing == []


def test_every_503_says_when_to_try_again() -> None:
    unavailable = [error for error in EVERY_ERROR if error.status == 503]

    silent = [error.__name__ for error in unavailable if not error.retry_after_s]

    assert unavailable != []
    assert silent == []


@pytest.mark.parametrize(
    ("error", "status", "exit_code"),
    [
        (errors.ConfigError, 500, 78),
        (errors.KeyFileError, 500, 78),
        (errors.BackendUnavailable, 503, 69),
        (errors.Overloaded, 503, 69),
        (errors.BadRequest, 400, 70),
        (errors.AmbiguousCredentials, 400, 70),
        (errors.HeadersTooLarge, 431, 70),
        (errors.MalformedCredentials, 401, 70),
        (errors.NotPermitted, 403, 70),
        (errors.NotImplementedHere, 501, 70),
        (errors.UpstreamUnreachable, 502, 69),
        (errors.UpstreamTimeout, 504, 69),
    ],
)
def test_status_and_exit_code_live_on_the_class(error: type[CompatAuthError], status: int, exit_code: int) -> None:
    assert (error.status, error.exit_code) == (status, exit_code)

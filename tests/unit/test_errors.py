"""The error tree: who must act stands on the class."""

from __future__ import annotations

import pytest

from compat_auth import errors
from compat_auth.errors import CompatAuthError

EVERY_ERROR = [
    found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, CompatAuthError)
]


@pytest.mark.parametrize("error", EVERY_ERROR)
def test_every_error_stands_in_the_drawn_tree(error: type[CompatAuthError]) -> None:
    drawing = errors.__doc__ or ""

    words = drawing.split()

    assert error.__name__ in words


@pytest.mark.parametrize("error", [found for found in EVERY_ERROR if found.status == 503])
def test_every_503_says_when_to_try_again(error: type[CompatAuthError]) -> None:
    assert error.retry_after_s


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

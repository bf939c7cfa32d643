"""The upstream as a directory."""

from __future__ import annotations

from typing import cast

import pytest

from compat_auth.directory import DirectoryUser, PasswordAccepted, PasswordDirectory
from compat_auth.errors import BackendUnavailable
from compat_auth.exchange import UpstreamLogin
from compat_auth.identity import Token
from compat_auth_backends.directories.upstream import UpstreamDirectory

TOKEN = Token("header.payload.signature", 2_000_000_000)


class LoginDouble:
    """The signature of `compat_auth.exchange.UpstreamLogin`; knows alice, and is down for bob."""

    def log_in(self, username: str, password: str) -> Token | None:
        if username == "bob":
            raise BackendUnavailable("upstream: down")
        return TOKEN if (username, password) == ("alice", "pw") else None


@pytest.fixture
def directory() -> PasswordDirectory:
    return UpstreamDirectory(cast("UpstreamLogin", LoginDouble()))


def test_whom_the_upstream_gives_a_token_is_accepted_with_it(directory: PasswordDirectory) -> None:
    accepted, refused = directory.check("alice", "pw"), directory.check("alice", "no")

    assert accepted == PasswordAccepted(DirectoryUser("alice"), TOKEN)
    assert refused is None


def test_an_upstream_that_is_down_is_no_refusal(directory: PasswordDirectory) -> None:
    with pytest.raises(BackendUnavailable):
        directory.check("bob", "pw")

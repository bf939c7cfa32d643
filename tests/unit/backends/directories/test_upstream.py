"""The upstream as a directory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import cast

import pytest

from compat_auth.directory import DirectoryUser, PasswordAccepted, PasswordDirectory
from compat_auth.errors import BackendUnavailable, Overloaded
from compat_auth.identity import Token
from compat_auth.tokens.upstream_login import UpstreamLogin
from compat_auth_backends.directories.upstream import UpstreamDirectory

TOKEN = Token("header.payload.signature", 2_000_000_000)


class LoginDouble:
    """The signature of `compat_auth.tokens.upstream_login.UpstreamLogin`; knows alice, and is down for bob."""

    def log_in(self, username: str, password: str) -> Token | None:
        if username == "bob":
            raise BackendUnavailable("upstream: down")
        return TOKEN if (username, password) == ("alice", "pw") else None


def raise_unavailable() -> bool:
    raise BackendUnavailable("upstream: down")


@pytest.fixture
def directory() -> PasswordDirectory:
    return UpstreamDirectory(cast("UpstreamLogin", LoginDouble()))


def test_whom_the_upstream_gives_a_token_is_accepted_with_it(directory: PasswordDirectory) -> None:
    accepted, refused = directory.check("alice", "pw"), directory.check("alice", "no")

    assert accepted == PasswordAccepted(DirectoryUser("alice"), TOKEN)
    assert refused is None


@pytest.mark.parametrize(
    ("takes_passwords", "count"),
    [
        pytest.param(lambda: True, 0, id="login"),
        pytest.param(lambda: False, 1, id="no-login"),
        pytest.param(raise_unavailable, 0, id="down"),
    ],
)
def test_check_names_an_auth_manager_that_takes_no_passwords(takes_passwords: Callable[[], bool], count: int) -> None:
    login = SimpleNamespace(takes_passwords=takes_passwords)

    problems = UpstreamDirectory(cast("UpstreamLogin", login)).problems()

    assert len(problems) == count
    assert all("AwsAuthManager" in problem and "[token] strategy" in problem for problem in problems)


def test_an_upstream_that_is_down_is_no_refusal(directory: PasswordDirectory) -> None:
    with pytest.raises(BackendUnavailable):
        directory.check("bob", "pw")


def test_while_the_upstreams_login_is_silent_later_callers_do_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compat_auth_backends.directories.upstream._PATIENCE_S", 0)
    asked, answered = threading.Event(), threading.Event()

    class Silent:
        def log_in(self, _username: str, _password: str) -> Token | None:
            asked.set()
            answered.wait(10)
            return TOKEN

    directory = UpstreamDirectory(cast("UpstreamLogin", Silent()))
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(directory.check, "alice", "pw")
        asked.wait(10)
        with pytest.raises(Overloaded, match="silent"):
            directory.check("eva", "pw")
        answered.set()

        assert first.result() is not None
    assert directory.check("eva", "pw") is not None

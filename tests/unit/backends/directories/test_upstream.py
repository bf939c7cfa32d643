"""The upstream as a directory."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import pytest

from compat_auth.config import Settings, parse_settings
from compat_auth.directory import DirectoryUser, PasswordAccepted, PasswordDirectory
from compat_auth.errors import BackendUnavailable
from compat_auth.identity import Token

TOKEN = Token("header.payload.signature", 2_000_000_000)


class LoginDouble:
    """The signature of `compat_auth.exchange.UpstreamLogin`; knows alice, and is down for bob."""

    @classmethod
    def from_settings(cls, settings: Settings) -> LoginDouble:
        return cls()

    def log_in(self, username: str, password: str) -> Token | None:
        if username == "bob":
            raise BackendUnavailable("upstream: down")
        return TOKEN if (username, password) == ("alice", "pw") else None


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> PasswordDirectory:
    double: Any = ModuleType("compat_auth.exchange")
    double.UpstreamLogin = LoginDouble
    monkeypatch.setitem(sys.modules, "compat_auth.exchange", double)
    monkeypatch.delitem(sys.modules, "compat_auth_backends.directories.upstream", raising=False)
    module: Any = importlib.import_module("compat_auth_backends.directories.upstream")
    monkeypatch.delitem(sys.modules, "compat_auth_backends.directories.upstream")
    found: PasswordDirectory = module.UpstreamDirectory.from_settings(parse_settings({}, origin="test"))
    return found


def test_whom_the_upstream_gives_a_token_is_accepted_with_it(directory: PasswordDirectory) -> None:
    accepted, refused = directory.check("alice", "pw"), directory.check("alice", "no")

    assert accepted == PasswordAccepted(DirectoryUser("alice"), TOKEN)
    assert refused is None


def test_an_upstream_that_is_down_is_no_refusal(directory: PasswordDirectory) -> None:
    with pytest.raises(BackendUnavailable):
        directory.check("bob", "pw")

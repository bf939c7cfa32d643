"""token_handler, held to what every backend must do."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping

import pytest

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.backend import Backend
from compat_auth.directory import DirectoryUser
from compat_auth.testing import BackendContract, Headers
from compat_auth_backends.token_handler import TokenHandlerBackend


class Known:
    """Users in memory."""

    name = "known"

    def find(self, username: str) -> DirectoryUser | None:
        return {"alice": DirectoryUser("alice"), "disabled": DirectoryUser("disabled", active=False)}.get(username)


class TestTokenHandler(BackendContract, has_source=True):
    is_down = False

    @pytest.fixture
    def backend(self) -> Backend:
        return TokenHandlerBackend(self.handle, UserLookup((Known(),)))

    def handle(self, token: str) -> Mapping[str, object] | None:
        if self.is_down:
            raise ConnectionError("down")
        owner = {"token-of-alice": "alice", "token-of-disabled": "disabled", "token-of-nobody": "nobody"}.get(token)
        return {"uid": owner} if owner else None

    def good(self) -> Headers:
        return {"Authorization": "Bearer token-of-alice"}

    def bad(self) -> dict[str, Headers]:
        tokens = ("token-of-disabled", "token-of-nobody", "no-such-token")
        return {token: {"Authorization": f"Bearer {token}"} for token in tokens}

    @contextlib.contextmanager
    def break_source(self) -> Generator[None]:
        self.is_down = True
        yield
        self.is_down = False

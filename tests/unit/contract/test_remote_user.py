"""remote_user, held to what every backend must do."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.backend import Backend
from compat_auth.config import RemoteUserSettings
from compat_auth.directory import DirectoryUser
from compat_auth.testing import BackendContract, Headers
from compat_auth_backends.connection.remote_user import RemoteUserBackend


class Known:
    """Users in memory; one of them has an e-mail address for a second name."""

    name = "known"
    answers_without_flask = True

    def find(self, username: str) -> DirectoryUser | None:
        users = {name: DirectoryUser(name) for name in ("alice", "bob")}
        users |= {"bob@example.org": DirectoryUser("bob"), "disabled": DirectoryUser("disabled", active=False)}
        return users.get(username)


class TestRemoteUser(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        settings = RemoteUserSettings(proxies=["127.0.0.1/32"])
        return RemoteUserBackend(settings, UserLookup((Known(),)))

    def good(self) -> Headers:
        return {"X-Forwarded-User": "alice"}

    def bad(self) -> Mapping[str, Headers]:
        names = ("disabled", "nobody", "alice,bob", "bob@example.org", "älice", " alice", "a" * 257)
        return {name: {"X-Forwarded-User": name} for name in names}

"""The team's backend, held to what every backend must do. Run it with pytest."""

import hashlib

import pytest
from team_key import TeamKeyBackend

from compat_auth.testing import BackendContract, Headers


class TestTeamKey(BackendContract):
    @pytest.fixture
    def backend(self) -> TeamKeyBackend:
        return TeamKeyBackend({hashlib.sha256(b"team-alpha").hexdigest(): "alice"})

    def good(self) -> Headers:
        return {"Authorization": "Bearer team-alpha"}

    def bad(self) -> dict[str, Headers]:
        return {"unknown key": {"Authorization": "Bearer team-beta"}, "another kind": {"Authorization": "Bearer a.b.c"}}

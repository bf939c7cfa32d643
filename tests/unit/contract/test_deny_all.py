"""deny_all, held to what every backend must do."""

import pytest

from compat_auth.backend import Backend
from compat_auth.testing import BackendContract, Headers
from compat_auth_backends.deny_all import DenyAllBackend
from support.stand_ins import basic


class TestDenyAll(BackendContract, accepts=False):
    @pytest.fixture
    def backend(self) -> Backend:
        return DenyAllBackend()

    def bad(self) -> dict[str, Headers]:
        return {"anybody": {"Authorization": basic("alice", "pässwörd")}, "a cookie": {"Cookie": "session=abcdefghijk"}}

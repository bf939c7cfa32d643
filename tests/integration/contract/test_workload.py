"""The backend workload, held to what every backend must do."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from compat_auth.backend import Backend
from compat_auth.net.cached_document import PAUSE_AFTER_ERROR_S
from compat_auth.testing import BackendContract, Headers
from compat_auth_backends.workloads.backend import WorkloadBackend
from support.stub_issuer import OTHER_RSA_KEY, Answer, StubIssuer, running_issuer
from support.workload_tokens import rule_for, settings_with, token_of


@pytest.fixture(scope="class")
def issuer(request: pytest.FixtureRequest) -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        assert request.cls is not None
        request.cls.issuer = stub
        yield stub


class TestWorkloads(BackendContract, has_source=True):
    issuer: StubIssuer
    username = "etl-robot"

    @pytest.fixture
    def backend(self, issuer: StubIssuer, tmp_path: Path) -> Backend:
        rules = [
            rule_for(platform, tmp_path, issuer=issuer.url, jwks=None, account=account, scopes=["all"])
            for platform, account in (("github", "etl-robot"), ("kubernetes", "gone"), ("gitlab", "nobody"))
        ]
        backend = WorkloadBackend.from_settings(settings_with(tmp_path, *rules))
        backend.name = "workload"
        return backend

    def good(self) -> Headers:
        return self._bearer("github")

    def bad(self) -> Mapping[str, Headers]:
        return {
            "wrong-key": self._bearer("github", key=OTHER_RSA_KEY),
            "unknown-key": self._bearer("github", header={"kid": "unknown"}),
            "another-audience": self._bearer("github", aud="other"),
            "another-repository": self._bearer("github", repository_id="75"),
            "disabled-account": self._bearer("kubernetes"),
            "unknown-account": self._bearer("gitlab"),
        }

    @contextmanager
    def break_source(self) -> Generator[None]:
        good = self.issuer.says["/jwks"]
        self.issuer.says["/jwks"] = Answer(status=500)
        try:
            yield
        finally:
            self.issuer.says["/jwks"] = good
            time.sleep(PAUSE_AFTER_ERROR_S)

    def _bearer(self, platform: str, **changed: Any) -> Headers:
        token = token_of(platform, **{"iss": self.issuer.url, **changed})
        return {"Authorization": f"Bearer {token}"}

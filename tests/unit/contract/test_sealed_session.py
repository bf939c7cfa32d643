"""session with a sealed cookie of ours, held to what every backend must do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import flask
import pytest

from compat_auth.authn.session_registry import LiveSessions
from compat_auth.backend import Backend
from compat_auth.config import Settings, parse_settings
from compat_auth.identity import Identity
from compat_auth.testing import BackendContract, Headers
from compat_auth_backends.session import SessionBackend

PLACEHOLDER = "$2b$04$abcdefghijklmnopqrstuuN1zXzbzVv0qYv2mWmJmKq9m7cQbW6lG"


class TestSealedSession(BackendContract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> Iterator[None]:
        (tmp_path / "htpasswd").write_text(f"alice:{PLACEHOLDER}\n")
        (tmp_path / "htpasswd").chmod(0o600)
        content = {
            "database_url": f"sqlite:///{tmp_path / 'store.db'}",
            "basic_auth": {"directories": ["htpasswd"]},
            "htpasswd": {"file": str(tmp_path / "htpasswd")},
            "session": {"secret": "s" * 32},
        }
        self.settings: Settings = parse_settings(content, origin="test")
        found = LiveSessions.from_settings(self.settings)
        assert found is not None
        self.sessions = found
        self.apps: list[flask.Flask] = []
        yield
        for sessions in (found, *(app.extensions["compat_auth_sessions"] for app in self.apps if app.extensions)):
            sessions._rows._database.close()

    @pytest.fixture
    def backend(self) -> Backend:
        return SessionBackend(self.settings)

    def make_app(self) -> flask.Flask:
        app = flask.Flask("contract")
        self.apps.append(app)
        return app

    def good(self) -> Headers:
        return self.cookie_of("alice")

    def bad(self) -> dict[str, Headers]:
        ended = self.cookie_of("alice")
        self.sessions.revoke_all("alice")
        changed = self.cookie_of("alice")["Cookie"][:-1] + "!"
        return {
            "ended": ended,
            "not in the directory": self.cookie_of("nobody"),
            "changed": {"Cookie": changed},
            "empty": {"Cookie": "compat_auth_session="},
            "beside another credential": {**self.cookie_of("alice"), "Authorization": "Bearer e30.e30.e30"},
        }

    def cookie_of(self, name: str) -> dict[str, str]:
        session = self.sessions.start(Identity(name, "basic_auth", directory="htpasswd"))
        return {"Cookie": self.sessions.cookie.header(session, secure=False).partition(";")[0]}

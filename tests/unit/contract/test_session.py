"""session, held to what every backend must do."""

from __future__ import annotations

from typing import Any, cast

import flask
import pytest
from flask.sessions import SecureCookieSessionInterface
from flask_login import LoginManager, UserMixin  # pyright: ignore[reportMissingTypeStubs]  # no stubs

from compat_auth.backend import Backend
from compat_auth.testing import BackendContract, Headers
from compat_auth_backends.session import SessionBackend


class User(UserMixin):  # type: ignore[misc]  # flask-login has no stubs
    def __init__(self, name: str) -> None:
        self.id = name

    @property
    def is_active(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]  # as the manual says
        return self.id != "disabled"


def load_user(name: str) -> User | None:
    return User(name) if name in {"alice", "disabled"} else None


class TestSession(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return SessionBackend()

    def make_app(self) -> flask.Flask:
        app = flask.Flask("contract")
        app.secret_key = "only for this test"
        manager = cast("Any", LoginManager(app))
        manager.session_protection = None
        manager.user_loader(load_user)
        return app

    def good(self) -> Headers:
        return self.cookie_of("alice")

    def bad(self) -> dict[str, Headers]:
        changed = self.cookie_of("alice")["Cookie"][:-1] + "!"
        return {
            "disabled": self.cookie_of("disabled"),
            "unknown": self.cookie_of("nobody"),
            "changed": {"Cookie": changed},
            "beside another credential": {**self.cookie_of("alice"), "Authorization": "Bearer e30.e30.e30"},
        }

    def cookie_of(self, name: str) -> dict[str, str]:
        signer = SecureCookieSessionInterface().get_signing_serializer(self.make_app())
        assert signer is not None
        return {"Cookie": f"session={signer.dumps({'_user_id': name, '_fresh': True})}"}

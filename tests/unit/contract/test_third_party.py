"""Modules that sites wrote for Airflow 2, unmodified, held to what every backend must do."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import flask
import pytest

from compat_auth.authn.airflow2.backend import LegacyBackend
from compat_auth.backend import Backend
from compat_auth.testing import BackendContract, Headers
from support.stand_ins import basic

TESTS = Path(__file__).parents[2]
KEYS = {
    "key-of-alice": {"username": "alice", "active": True},
    "key-of-disabled": {"username": "disabled", "active": False},
}


class SiteModule(BackendContract):
    folder = "support/peers"
    module: str
    place: str
    form: str = "{}"

    @pytest.fixture
    def backend(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Backend:
        keys = tmp_path / "keys.json"
        keys.write_text(json.dumps(KEYS))
        monkeypatch.setenv("SITE_API_KEYS", str(keys))
        monkeypatch.syspath_prepend(str(TESTS / self.folder / "legacy_modules"))  # pyright: ignore[reportUnknownMemberType]  # pytest does not type it
        return LegacyBackend(importlib.import_module(self.module), self.module)

    def good(self) -> Headers:
        return {self.place: self.form.format("key-of-alice")}

    def bad(self) -> dict[str, Headers]:
        keys = ("key-of-nobody", "key-of-disabled", "", "x" * 5000)
        return {key[:20] or "empty": {self.place: self.form.format(key)} for key in keys}


class TestUserByFlaskLogin(SiteModule):
    module = "api_key_login"
    place = "X-Api-Key"

    # login_user() writes into the session: the app must be able to keep one.
    def make_app(self) -> flask.Flask:
        app = super().make_app()
        app.secret_key = "only for this test"
        return app


class TestUserInG(SiteModule):
    module = "api_key_global"
    place = "Authorization"
    form = "ApiKey {}"


class PasswordModule(SiteModule):
    folder = "compat"

    # login_user() writes into the session: the app must be able to keep one.
    def make_app(self) -> flask.Flask:
        app = super().make_app()
        app.secret_key = "only for this test"
        return app

    def good(self) -> Headers:
        return {"Authorization": basic("alice", "wonderland")}

    def bad(self) -> dict[str, Headers]:
        return {
            "wrong": {"Authorization": basic("alice", "wrong")},
            "beside a cookie": {"Authorization": basic("alice", "wrong"), "Cookie": "session=abcdefghijk"},
        }


class TestPasswordByFlaskLogin(PasswordModule):
    module = "logs_in"


class TestPasswordInG(PasswordModule):
    module = "sets_g_user"

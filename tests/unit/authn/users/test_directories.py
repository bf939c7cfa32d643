"""However many ask a directory, a process has one of each name."""

from __future__ import annotations

import gc
import importlib
import os
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from compat_auth.app import create_app
from compat_auth.authn.airflow2.module import app_settings
from compat_auth.authn.users.directories import load_directories, load_user_directories
from compat_auth.authn.users.last_answers import LastAnswers
from compat_auth.authn.users.lookup import UserLookup
from compat_auth.authn.users.role_accounts import RoleAccountNames
from compat_auth.config import Settings, parse_settings
from compat_auth.extension import CompatAuth
from compat_auth_backends.directories.airflow_db import AirflowDatabaseDirectory


def count(monkeypatch: pytest.MonkeyPatch, *classes: type) -> Counter[str]:
    """Return the number of instances of each class that are made from now on."""
    made: Counter[str] = Counter()

    def counting(one: type) -> None:
        initialise = one.__init__  # type: ignore[misc]  # that of the very class

        def counted(self: object, *args: Any, **kwargs: Any) -> None:
            made[one.__name__] += 1
            initialise(self, *args, **kwargs)

        monkeypatch.setattr(one, "__init__", counted)

    for one in classes:
        counting(one)
    return made


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    return {
        "auth_backends": ["session", "basic_auth", "google_openid", "oidc", "personal_token"],
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "airflow_db": {"url": f"sqlite:///{tmp_path / 'airflow.db'}"},
        "airflow_session": {"secret_key": "k" * 32},
        "upstream": {"url": "http://127.0.0.1:9", "profile": "airflow-fab"},
        "token": {"strategy": "shared_secret", "secret": os.urandom(64).hex(), "audience": "apache-airflow"},
        "basic_auth": {"directories": ["airflow_db"]},
        "session": {"secret": os.urandom(32).hex()},
        "google_openid": {"audience": "a.apps.googleusercontent.com"},
        "oidc": {"issuers": [{"issuer": "https://id.example.com", "audience": "x"}]},
    }


def test_a_gateway_has_one_directory_for_one_database(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made: Counter[str] = Counter()
    make = AirflowDatabaseDirectory.from_settings

    def counted(settings: Settings) -> AirflowDatabaseDirectory:
        made["directory"] += 1
        return make(settings)

    monkeypatch.setattr(AirflowDatabaseDirectory, "from_settings", counted)

    create_app(parse_settings(content, origin="test"))

    assert made["directory"] == 1


def test_a_gateway_has_two_lookups_and_one_memory_of_what_servers_have_said(
    content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = count(monkeypatch, UserLookup, LastAnswers)

    create_app(parse_settings(content, origin="test"))

    # One for backends, whose answers the chain checks, and one that knows which names are reserved.
    assert made == {"UserLookup": 2, "LastAnswers": 1}


def test_a_plain_app_has_one_directory_for_one_database(
    content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = count(monkeypatch, AirflowDatabaseDirectory, UserLookup, LastAnswers)
    app = Flask("plain")

    CompatAuth(app, parse_settings(content, origin="test"))

    assert made == {"AirflowDatabaseDirectory": 1, "UserLookup": 1, "LastAnswers": 1}


def test_modules_of_airflow_2_share_the_directory_of_their_app(
    content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = count(monkeypatch, AirflowDatabaseDirectory, UserLookup)
    app = Flask("airflow2")
    app.config["COMPAT_AUTH"] = content

    for name in ("basic_auth", "session", "google_openid", "default"):
        importlib.import_module(f"compat_auth_backends.{name}").init_app(app)

    assert made == {"AirflowDatabaseDirectory": 1, "UserLookup": 1}


def test_settings_of_an_app_that_change_are_read_again(content: dict[str, Any]) -> None:
    app = Flask("airflow2")
    app.config["COMPAT_AUTH"] = content
    first, again = app_settings(app), app_settings(app)

    app.config["COMPAT_AUTH"] = {**content, "basic_auth": {"directories": ["htpasswd"]}}

    assert first is again
    assert app_settings(app).basic_auth.directories == ["htpasswd"]


def test_lookups_with_other_reserved_names_are_not_shared(content: dict[str, Any]) -> None:
    settings = parse_settings(content, origin="test")
    names = RoleAccountNames.from_settings(settings)

    plain, reserving = UserLookup.from_settings(settings), UserLookup.from_settings(settings, reserves=names.reserves)

    assert plain is not reserving
    assert UserLookup.from_settings(settings) is plain
    assert UserLookup.from_settings(settings, reserves=names.reserves) is reserving


def test_what_settings_share_goes_with_them(content: dict[str, Any]) -> None:
    settings = parse_settings(content, origin="test")
    shared = weakref.ref(UserLookup.from_settings(settings))

    del settings
    gc.collect()

    assert shared() is None


def test_other_settings_have_a_directory_of_their_own(content: dict[str, Any]) -> None:
    first, second = (parse_settings(content, origin="test") for _ in range(2))

    (by_password,) = load_directories(["airflow_db"], first)
    (by_name,) = load_user_directories(["airflow_db"], first)
    (other,) = load_user_directories(["airflow_db"], second)

    assert by_password is by_name
    assert other is not by_name

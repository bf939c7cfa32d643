"""However many ask a directory, a process has one of each name."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from compat_auth.app import create_app
from compat_auth.authn.users.directories import load_directories, load_user_directories
from compat_auth.config import Settings, parse_settings
from compat_auth_backends.directories.airflow_db import AirflowDatabaseDirectory


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


def test_other_settings_have_a_directory_of_their_own(content: dict[str, Any]) -> None:
    first, second = (parse_settings(content, origin="test") for _ in range(2))

    (by_password,) = load_directories(["airflow_db"], first)
    (by_name,) = load_user_directories(["airflow_db"], first)
    (other,) = load_user_directories(["airflow_db"], second)

    assert by_password is by_name
    assert other is not by_name

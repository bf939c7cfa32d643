"""Ten modules of Airflow 2 in a Flask app, with a good, a bad and no credential."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import flask
import pytest
from flask.testing import FlaskClient
from werkzeug.security import generate_password_hash

from compat_auth.authn.airflow2.stand_ins.upstream_objects import UPSTREAM_READER
from compat_auth.config import parse_settings
from compat_auth.extension import CompatAuth, current_identity, requires_authentication
from support.legacy_world import CASES, MODULES, PACKAGE, VARIABLE_KEY, LegacyCase, Sent, environ_of, legacy_services

PATH = "/dags"
# Outside of a gate REMOTE_USER is the server's, and users are written nowhere.
IN_FLASK = {"read_as", "write_users_as", "remote_user_header", "remote_user_proxies"}


class Reader:
    def read(self, path: str) -> dict[str, str] | None:
        return {"value": VARIABLE_KEY} if path == "/variables/site_jwt_key" else None


@pytest.fixture(scope="module")
def services() -> Iterator[str]:
    with legacy_services() as url:
        yield url


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "airflow.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript(
            "CREATE TABLE ab_user (id INTEGER PRIMARY KEY, username, password, active, email);"
            "CREATE TABLE ab_role (id INTEGER PRIMARY KEY, name);"
            "CREATE TABLE ab_user_role (user_id INTEGER, role_id INTEGER);"
            "INSERT INTO ab_role VALUES (1, 'Admin'); INSERT INTO ab_user_role VALUES (1, 1);"
        )
        hashed = generate_password_hash("admin", "pbkdf2:sha256:1000")
        connection.execute("INSERT INTO ab_user VALUES (1, 'admin', ?, 1, 'admin@example.com')", [hashed])
    return file


@pytest.fixture(params=CASES, ids=[case.module for case in CASES])
def case(request: pytest.FixtureRequest) -> LegacyCase:
    found: LegacyCase = request.param
    return found


@pytest.fixture
def client(case: LegacyCase, services: str, database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    monkeypatch.syspath_prepend(str(MODULES))
    for name, value in environ_of(services).items():
        if name != "PYTHONPATH":
            monkeypatch.setenv(name, value)
    app = flask.Flask("test")
    app.secret_key = "theirs"
    app.extensions[UPSTREAM_READER] = Reader()
    settings = {
        "auth_backends": [case.name],
        "airflow_db": {"url": f"sqlite:///{database}"},
        "basic_auth": {"directories": ["airflow_db"]},
        "airflow2_modules": {name: value for name, value in case.settings.items() if name not in IN_FLASK},
    }
    CompatAuth(app, parse_settings(settings, origin="test"))

    @app.route(PATH, methods=["GET", "POST"])
    @requires_authentication
    def dags() -> str:
        return current_identity.username

    yield app.test_client()
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def call(client: FlaskClient, case: LegacyCase, sent: Sent) -> tuple[int, str]:
    headers = dict(sent.headers)
    environ = {"REMOTE_USER": user} if (user := headers.pop("X-Remote-User", "")) else {}
    answer = client.open(PATH, method=case.method, headers=headers, data=sent.body, environ_base=environ)
    return answer.status_code, answer.text


def test_each_lets_in_the_good_and_nobody_else(client: FlaskClient, case: LegacyCase, services: str) -> None:
    good = call(client, case, case.good(services, PATH))
    bad = call(client, case, case.bad(services, PATH))
    none = call(client, case, case.none)

    assert good == (200, "admin")
    assert bad[0] == 401
    assert none[0] == 401
    assert not [name for name in sys.modules if name.partition(".")[0] in ("airflow", "flask_appbuilder")]

"""The behaviour matrix of Airflow 2, through the gate and through the extension: the same answers."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import flask
import pytest
from werkzeug.security import generate_password_hash

from compat.matrix import CASES, COLUMNS, OK, UPSTREAM, USERS, Case, expected_refusal
from compat_auth.app import create_flask_app
from compat_auth.config import Settings, parse_settings
from compat_auth.decision import Decider
from compat_auth.extension import CompatAuth, current_identity, requires_authentication, style_of
from stand_ins import Behind, call, give_token, http_scope, make_gate, rules

MODES = [("strict", False), ("airflow2", False), ("airflow2", True)]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("airflow") / "airflow.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "create table ab_user (id integer primary key, username text, password text, active boolean, email text);"
            "create table ab_role (id integer primary key, name text);"
            "create table ab_user_role (user_id integer, role_id integer);"
        )
        connection.executemany(
            "insert into ab_user (username, password, email, active) values (?, ?, ?, ?)",
            [(n, generate_password_hash(p, "pbkdf2:sha256:10"), e, a) for n, p, e, a in USERS],
        )
    connection.close()
    return path


def settings_for(database: Path, column: str, mode: str, *, public_role: bool) -> Settings:
    return parse_settings(
        {
            "auth_backends": COLUMNS[column],
            "mode": mode,
            "airflow2": {"auth_role_public": "Public" if public_role else ""},
            "basic_auth": {"directories": ["airflow_db"]},
            "airflow_db": {"url": f"sqlite:///{database}"},
        },
        origin="matrix",
    )


every_cell = pytest.mark.parametrize(("mode", "public_role"), MODES)
every_column = pytest.mark.parametrize("column", COLUMNS)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
@every_column
@every_cell
async def test_the_gate_answers_as_the_matrix_says(
    database: Path, case: Case, column: str, mode: str, public_role: bool
) -> None:
    settings = settings_for(database, column, mode, public_role=public_role)
    app = create_flask_app(settings)
    decider = Decider(app.extensions["compat_auth"].chain, app, give_token)
    behind = Behind()
    gate = make_gate(behind, decider, gate_rules=rules(style=style_of(settings)))
    headers = [(name.lower().encode(), value.encode()) for name, value in case.headers]

    sent = await call(gate, http_scope(headers=headers))

    if case.answer in (OK, UPSTREAM):
        assert sent.status == 200
        own = [value for name, value in headers if name == b"authorization"] == behind.values(b"authorization")
        assert own == (case.answer == UPSTREAM)
    else:
        status, challenge = expected_refusal(column, mode, public_role=public_role)
        assert sent.status == status
        assert sent.values(b"www-authenticate") == ([challenge.encode()] if challenge else [])
        assert ("Errors/" in json.loads(sent.body)["type"]) == (mode == "airflow2")
        assert behind.scopes == []


@every_case
@every_column
@every_cell
def test_the_extension_answers_as_the_matrix_says(
    database: Path, case: Case, column: str, mode: str, public_role: bool
) -> None:
    app = flask.Flask("third party")
    CompatAuth(app, settings_for(database, column, mode, public_role=public_role))
    app.add_url_rule("/x", view_func=requires_authentication(lambda: current_identity.username), endpoint="x")

    answer = app.test_client().get("/x", headers=list(case.headers))

    if case.answer == OK:
        assert answer.status_code == 200
        assert answer.text in ("admin", "zoë")
    else:
        status, challenge = expected_refusal(column, mode, public_role=public_role)
        assert answer.status_code == status
        assert answer.headers.getlist("WWW-Authenticate") == ([challenge] if challenge else [])
        assert ("Errors/" in json.loads(answer.data)["type"]) == (mode == "airflow2")
    assert "Set-Cookie" not in answer.headers

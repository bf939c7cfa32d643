"""How a row of the behaviour matrix is sent through the gate and through the extension, and what must come of it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import flask
import pytest
from werkzeug.security import generate_password_hash

from compat_auth.composition.decider import create_flask_app
from compat_auth.config import Settings, parse_settings
from compat_auth.extension import CompatAuth, current_identity, requires_authentication, style_of
from compat_auth.gateway.decider import Decider
from support.compat.matrix import COLUMNS, NAMES, OK, UPSTREAM, USERS, Case, expected_refusal
from support.stand_ins import Behind, Issuing, call, give_token, http_scope, make_gate, rules

MODES = [("strict", False), ("airflow2", False), ("airflow2", True)]


every_cell = pytest.mark.parametrize(("mode", "public_role"), MODES)


def make_database(path: Path) -> None:
    """Write the user tables of an Airflow with the users that the rows name."""
    with closing(sqlite3.connect(path)) as connection, connection:
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


def settings_for(
    database: Path, column: str, mode: str, *, public_role: bool, kerberos: dict[str, str] | None = None
) -> Settings:
    return parse_settings(
        {
            "kerberos": kerberos or {},
            "auth_backends": COLUMNS[column],
            "mode": mode,
            "airflow2": {"auth_role_public": "Public" if public_role else ""},
            "basic_auth": {"directories": ["airflow_db"]},
            "airflow_db": {"url": f"sqlite:///{database}"},
        },
        origin="matrix",
    )


async def check_gate(settings: Settings, column: str, case: Case, headers: list[tuple[str, str]]) -> None:
    """Send a row through the gate and compare the answer with the matrix."""
    mode, public_role = settings.mode, bool(settings.airflow2.auth_role_public)
    app = create_flask_app(settings)
    decider = Decider(app.extensions["compat_auth"].chain, app, Issuing(give_token))
    behind = Behind()
    gate = make_gate(behind, decider, gate_rules=rules(style=style_of(settings)))
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]

    sent = await call(gate, http_scope(headers=raw))

    answer = case.answer_in(column)
    if answer in (OK, UPSTREAM):
        assert sent.status == 200
        own = [value for name, value in raw if name == b"authorization"] == behind.values(b"authorization")
        assert own == (answer == UPSTREAM)
        mutual = [value for value in sent.values(b"www-authenticate") if value.startswith(b"Negotiate ")]
        assert len(mutual) == (case.takes == "kerberos")
    else:
        status, challenges = expected_refusal(column, mode, answer, public_role=public_role)
        assert sent.status == status
        assert [value.decode() for value in sent.values(b"www-authenticate")] == challenges
        assert ("Errors/" in json.loads(sent.body)["type"]) == (mode == "airflow2")
        assert behind.scopes == []


def check_extension(settings: Settings, column: str, case: Case, headers: list[tuple[str, str]]) -> None:
    """Send a row to a view of a third party's app and compare the answer with the matrix."""
    mode, public_role = settings.mode, bool(settings.airflow2.auth_role_public)
    app = flask.Flask("third party")
    CompatAuth(app, settings)
    app.add_url_rule("/x", view_func=requires_authentication(lambda: current_identity.username), endpoint="x")

    answer = app.test_client().get("/x", headers=headers)

    if case.answer_in(column) == OK:
        assert answer.status_code == 200
        assert answer.text in NAMES
    else:
        status, challenges = expected_refusal(column, mode, case.answer_in(column), public_role=public_role)
        assert answer.status_code == status
        assert answer.headers.getlist("WWW-Authenticate") == challenges
        assert ("Errors/" in json.loads(answer.data)["type"]) == (mode == "airflow2")
    assert "Set-Cookie" not in answer.headers

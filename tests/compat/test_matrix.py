"""The behaviour matrix of Airflow 2, through the gate and through the extension: the same answers."""

from __future__ import annotations

import base64
import json
import sqlite3
from pathlib import Path

import flask
import pytest
from werkzeug.security import generate_password_hash

from compat.matrix import (
    CASES,
    COLUMNS,
    NAMES,
    OK,
    UPSTREAM,
    USERS,
    WITHOUT_TICKETS,
    Case,
    expected_refusal,
)
from compat_auth.app import create_flask_app
from compat_auth.config import Settings, parse_settings
from compat_auth.decision import Decider
from compat_auth.extension import CompatAuth, current_identity, requires_authentication, style_of
from peers.kerberos import Kdc
from peers.kerberos_client import Tickets
from stand_ins import Behind, call, give_token, http_scope, make_gate, rules

MODES = [("strict", False), ("airflow2", False), ("airflow2", True)]
SERVICE = "airflow@localhost"


class Realm:
    """The keytab of the service, and a fresh token of each principal that a row names."""

    def __init__(self, kdc: Kdc) -> None:
        self._tickets = Tickets(kdc)
        self.settings = {
            "keytab": str(kdc.keytab("airflow/localhost")),
            "service": "airflow",
            "name_mapping": "full",
            "replay_cache": str(kdc.folder / "replays-matrix"),
        }

    def __getitem__(self, principal: str) -> str:
        # The session of the rows is none here: no Airflow has made it.
        return "x" if principal == "session" else base64.b64encode(self._tickets.token(principal, SERVICE)).decode()


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


@pytest.fixture(scope="module")
def realm(kdc: Kdc) -> Realm:
    return Realm(kdc)


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


every_cell = pytest.mark.parametrize(("mode", "public_role"), MODES)
every_column = pytest.mark.parametrize("column", COLUMNS)
every_column_without_tickets = pytest.mark.parametrize("column", WITHOUT_TICKETS)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_case_without_a_ticket = pytest.mark.parametrize(
    "case", [case for case in CASES if not case.needs_ticket], ids=lambda case: case.name
)


async def check_gate(settings: Settings, column: str, case: Case, headers: list[tuple[str, str]]) -> None:
    """Send a row through the gate and compare the answer with the matrix."""
    mode, public_role = settings.mode, bool(settings.airflow2.auth_role_public)
    app = create_flask_app(settings)
    decider = Decider(app.extensions["compat_auth"].chain, app, give_token)
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


@every_case_without_a_ticket
@every_column_without_tickets
@every_cell
async def test_the_gate_answers_as_the_matrix_says(
    database: Path, case: Case, column: str, mode: str, public_role: bool
) -> None:
    settings = settings_for(database, column, mode, public_role=public_role)

    await check_gate(settings, column, case, list(case.headers))


@every_case_without_a_ticket
@every_column_without_tickets
@every_cell
def test_the_extension_answers_as_the_matrix_says(
    database: Path, case: Case, column: str, mode: str, public_role: bool
) -> None:
    settings = settings_for(database, column, mode, public_role=public_role)

    check_extension(settings, column, case, list(case.headers))


@every_case
@every_column
@every_cell
async def test_the_gate_answers_as_the_matrix_says_beside_a_real_kdc(
    database: Path, realm: Realm, case: Case, column: str, mode: str, public_role: bool
) -> None:
    settings = settings_for(database, column, mode, public_role=public_role, kerberos=realm.settings)
    headers = [(name, value.format_map(realm)) for name, value in case.headers]

    await check_gate(settings, column, case, headers)


@every_case
@every_column
@every_cell
def test_the_extension_answers_as_the_matrix_says_beside_a_real_kdc(
    database: Path, realm: Realm, case: Case, column: str, mode: str, public_role: bool
) -> None:
    settings = settings_for(database, column, mode, public_role=public_role, kerberos=realm.settings)
    headers = [(name, value.format_map(realm)) for name, value in case.headers]

    check_extension(settings, column, case, headers)

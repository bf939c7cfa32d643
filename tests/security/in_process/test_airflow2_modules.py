"""What a module of Airflow 2 could be used for: to get in as somebody else, to write, or to reach other code."""

from __future__ import annotations

import contextlib
import importlib
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import flask
import pytest
from werkzeug.security import generate_password_hash

from compat_auth.authn.chain import Chain
from compat_auth.authn.passwords.hash_pool import HashPool
from compat_auth.authn.registry import load_chain
from compat_auth.authn.users.directories import shared_directory
from compat_auth.backend import Backend
from compat_auth.composition.decider import create_flask_app
from compat_auth.config import Settings, parse_settings
from compat_auth.credentials import Absent, Basic, Bearer
from compat_auth.crypto.personal_token_format import PREFIX
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.outcome import MODULE_PEER, Accept, Outcome, Reject
from support.stand_ins import basic

Written = Callable[[str], str]
_numbers = count()
HEAD = (
    "from flask import Response, current_app, g, request\nfrom flask_login import login_user\n\n\n"
    "def init_app(app):\n    pass\n\n\n"
)
GUARD = (
    HEAD + "def requires_authentication(function):\n    def decorated(*args, **kwargs):\n        user = None\n"
    "        {}\n        if user is None:\n            return Response('', 401, {{'WWW-Authenticate': 'Basic'}})\n"
    "        login_user(user)\n        return function(*args, **kwargs)\n    return decorated\n"
)
PASSWORD = GUARD.format(
    "auth = request.authorization; manager = current_app.appbuilder.sm\n"
    "        user = manager.auth_user_db(auth.username, auth.password) if auth else None"
)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Written]:
    """Write a module with a name that no other has, and return the name."""
    monkeypatch.syspath_prepend(str(tmp_path))  # pyright: ignore[reportUnknownMemberType]  # pytest does not type it
    before = set(sys.modules)

    def write(content: str) -> str:
        name = f"site_attack_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(content)
        importlib.invalidate_caches()
        return name

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "airflow.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript(
            "CREATE TABLE ab_user (id INTEGER PRIMARY KEY, username, password, active, email);"
            "CREATE TABLE ab_role (id INTEGER PRIMARY KEY, name);"
            "CREATE TABLE ab_user_role (user_id INTEGER, role_id INTEGER);"
        )
        hashed = generate_password_hash("wonderland", "pbkdf2:sha256:1000")
        connection.executemany(
            "INSERT INTO ab_user VALUES (?, ?, ?, ?, ?)",
            [
                (1, "alice", hashed, True, "alice@example.com"),
                (2, "disabled", hashed, False, "disabled@example.com"),
                (3, "bot", hashed, True, "bot@example.com"),
            ],
        )
    return file


def settings_of(name: str, database: Path, **sections: Any) -> Settings:
    content = {
        "auth_backends": [name],
        "airflow_db": {"url": f"sqlite:///{database}"},
        "basic_auth": {"directories": ["airflow_db"]},
        **sections,
    }
    return parse_settings(content, origin="test")


def ready(settings: Settings) -> tuple[flask.Flask, Backend]:
    app = create_flask_app(settings)
    (backend,) = app.extensions["compat_auth"].chain.backends
    return app, backend


def ask(app: flask.Flask, backend: Backend, username: str = "", password: str = "", **environ: Any) -> Outcome:
    credential = Basic(username, password) if username else Absent()
    headers = {"Authorization": basic(username, password)} if username else {}
    with app.test_request_context(headers=headers, environ_overrides=environ):
        return Chain((backend,)).ask(credential).outcome


@pytest.mark.parametrize(
    ("username", "password", "is_in"),
    [
        ("alice", "wonderland", True),
        ("alice@example.com", "wonderland", True),
        ("alice", "wrong", False),
        ("disabled", "wonderland", False),
        ("nobody", "wonderland", False),
        ("alice", PREFIX + "0123456789", False),
    ],
)
def test_a_modules_password_check_is_that_of_basic_auth(
    written: Written, database: Path, username: str, password: str, is_in: bool
) -> None:
    app, backend = ready(settings_of(written(PASSWORD), database))

    outcome = ask(app, backend, username, password)

    assert isinstance(outcome, Accept) is is_in
    assert isinstance(outcome, Accept | Reject)


def test_a_modules_guesses_count_with_those_of_basic_auth(written: Written, database: Path) -> None:
    settings = settings_of(written(PASSWORD), database)
    app, _ = ready(settings)

    with app.app_context():
        checker = flask.current_app.appbuilder.sm._checker  # type: ignore[attr-defined]

    assert checker.pool is shared_directory(HashPool, settings)


@pytest.mark.parametrize(
    "asked",
    [
        "auth_user_oauth({'username': 'disabled'})",
        "auth_user_oauth({'username': 'nobody', 'email': 'alice@example.com'})",
        "auth_user_oauth({'username': '', 'email': 'alice@example.com'})",
        "auth_user_oauth({'username': 'nobody', 'role_keys': ['Admin']})",
        "auth_user_oauth({})",
        "auth_user_remote_user('disabled')",
        "auth_user_remote_user(None)",
        "auth_user_oid('disabled@example.com')",
        "auth_user_ldap('alice', 'wonderland')",
        "find_user(username='disabled')",
        "find_user(username='alice@example.com')",
        "find_user()",
        "get_user_by_id(2)",
        "get_user_by_id('1 OR 1=1')",
    ],
)
def test_nobody_gets_in_as_somebody_whom_fab_would_not_name(written: Written, database: Path, asked: str) -> None:
    module = GUARD.format(f"user = current_app.appbuilder.sm.{asked} if 'x' in request.headers else None")
    app, backend = ready(settings_of(written(module), database))

    with app.test_request_context(headers={"x": "1"}):
        outcome = backend.authenticate(Absent())

    assert not isinstance(outcome, Accept)


def test_a_role_account_does_not_get_in_through_a_module(written: Written, database: Path) -> None:
    app, backend = ready(settings_of(written(PASSWORD), database))
    chain = Chain((backend,), reserves=lambda identity: identity.username == "bot")

    with app.test_request_context(headers={"Authorization": basic("bot", "wonderland")}):
        outcome = chain.ask(Basic("bot", "wonderland")).outcome

    assert isinstance(outcome, Reject)


@pytest.mark.parametrize(
    "statement",
    [
        'session.execute(text("UPDATE ab_user SET active = 1"))',
        "session.execute(text(\"/* x */ INSERT INTO ab_role VALUES (1, 'Admin')\")); session.commit()",
        'session.execute(text("WITH x AS (SELECT 1) DELETE FROM ab_user"))',
        'session.execute(text("select 1; DELETE FROM ab_user"))',
        "session.connection().exec_driver_sql('DROP TABLE ab_user')",
        "session.connection().connection.cursor().execute('DELETE FROM ab_user')",
        "session.connection().exec_driver_sql('PRAGMA query_only = OFF')",
        "session.connection().connection.cursor().execute('ATTACH DATABASE \"x.db\" AS x')",
    ],
)
@pytest.mark.parametrize("made", ["with create_session() as session:", "session = Session()\n    if True:"])
def test_a_module_cannot_write_into_airflows_database(
    written: Written, database: Path, statement: str, made: str
) -> None:
    before = database.read_bytes()
    source = "from airflow.utils.session import create_session\nfrom airflow.settings import Session\nfrom sqlalchemy import text\n"
    source += GUARD.format("write() if request.args.get('write') else None")
    name = written(f"{source}\ndef write():\n    {made}\n        {statement}\n        session.commit()\n")
    app, backend = ready(settings_of(name, database))

    with app.test_request_context("/?write=1"), contextlib.suppress(BackendUnavailable):
        backend.authenticate(Absent())

    assert database.read_bytes() == before


def test_a_module_reads_airflows_database(written: Written, database: Path) -> None:
    source = "from airflow.utils.db import provide_session\nfrom sqlalchemy import text\n" + GUARD.format(
        "user = current_app.appbuilder.sm.find_user(first()) if request.args.get('read') else None"
    )
    source += (
        "\n@provide_session\ndef first(session=None):\n"
        "    return session.execute(text('SELECT username FROM ab_user ORDER BY id')).scalar()\n"
    )
    app, backend = ready(settings_of(written(source), database))

    with app.test_request_context("/?read=1"):
        outcome = backend.authenticate(Absent())

    assert isinstance(outcome, Accept)
    assert outcome.identity.username == "alice"


def test_a_modules_wish_to_change_users_is_503_and_changes_nothing(written: Written, database: Path) -> None:
    before = database.read_bytes()
    change = (
        "manager = current_app.appbuilder.sm; user = manager.find_user('alice') if request.args else None\n"
        "        if user: user.active = False; manager.update_user(user)"
    )
    app, backend = ready(settings_of(written(GUARD.format(change)), database))

    with app.test_request_context("/?x=1"), pytest.raises(BackendUnavailable):
        backend.authenticate(Absent())

    assert database.read_bytes() == before


def test_stand_ins_are_nowhere_else_in_the_process(written: Written, database: Path) -> None:
    source = (
        "from airflow.configuration import conf\nfrom flask import _request_ctx_stack\nimport flask_appbuilder.const\n"
    )
    app, backend = ready(settings_of(written(source + PASSWORD), database))

    outcome = ask(app, backend, "alice", "wonderland")

    assert isinstance(outcome, Accept)
    assert not [name for name in sys.modules if name.partition(".")[0] in ("airflow", "flask_appbuilder")]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("airflow.configuration")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("flask_appbuilder")
    assert not hasattr(flask, "_request_ctx_stack")


def test_each_app_has_its_own_directories(written: Written, database: Path, tmp_path: Path) -> None:
    name = written(PASSWORD)
    users = tmp_path / "users"
    users.write_text("carol:" + "$2b$04$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy\n")
    users.chmod(0o600)
    first, of_first = ready(settings_of(name, database))
    second, of_second = ready(
        settings_of(name, database, basic_auth={"directories": ["htpasswd"]}, htpasswd={"file": str(users)})
    )

    in_first, in_second = (ask(*pair, "alice", "wonderland") for pair in ((first, of_first), (second, of_second)))

    assert isinstance(in_first, Accept)
    assert not isinstance(in_second, Accept)


@pytest.mark.parametrize(
    "behave",
    [
        "user = current_app.appbuilder.sm.find_user('alice')",
        "user = current_app.appbuilder.sm.find_user('alice') if request.authorization else None",
        "user = current_app.appbuilder.sm.find_user('alice') if 'Authorization' in request.headers else None",
    ],
)
def test_a_module_that_lets_everybody_in_is_refused_when_it_starts(
    written: Written, database: Path, behave: str
) -> None:
    app, backend = ready(settings_of(written(GUARD.format(behave)), database))

    with pytest.raises(ConfigError, match="would accept everybody"):
        backend.probe()
    with pytest.raises(BackendUnavailable):
        ask(app, backend, "alice", "wonderland")


def test_a_module_that_is_refused_stops_neither_the_start_nor_the_backends_before_it(
    written: Written, database: Path
) -> None:
    name = written(GUARD.format("return function()"))
    settings = settings_of(name, database, auth_backends=["basic_auth", name])

    app = create_flask_app(settings)

    with app.test_request_context(headers={"Authorization": basic("alice", "wonderland")}):
        answer = app.extensions["compat_auth"].chain.ask(Basic("alice", "wonderland"))
    assert isinstance(answer.outcome, Accept)


REMOTE = GUARD.format("user = current_app.appbuilder.sm.auth_user_remote_user(request.remote_user)")
NAMED_PROXY = {"remote_user_header": "X-Remote-User", "remote_user_proxies": ["10.0.0.1"]}


@pytest.mark.parametrize(
    ("modules", "environ", "is_in"),
    [
        (NAMED_PROXY, {MODULE_PEER: "10.0.0.1", "HTTP_X_REMOTE_USER": "alice"}, True),
        (NAMED_PROXY, {MODULE_PEER: "10.0.0.2", "HTTP_X_REMOTE_USER": "alice"}, False),
        (NAMED_PROXY, {MODULE_PEER: "unix:", "HTTP_X_REMOTE_USER": "alice"}, False),
        (NAMED_PROXY, {MODULE_PEER: "", "HTTP_X_REMOTE_USER": "alice"}, False),
        (NAMED_PROXY, {MODULE_PEER: "10.0.0.1", "HTTP_X_REMOTE_USER": "disabled"}, False),
        (NAMED_PROXY, {MODULE_PEER: "10.0.0.1", "HTTP_REMOTE_USER": "alice"}, False),
        (NAMED_PROXY, {MODULE_PEER: "10.0.0.1", "REMOTE_USER": "alice"}, False),
        ({}, {MODULE_PEER: "10.0.0.1", "HTTP_X_REMOTE_USER": "alice"}, False),
    ],
)
def test_only_a_proxy_that_is_named_for_it_says_who_the_remote_user_is(
    written: Written, database: Path, modules: dict[str, Any], environ: dict[str, str], is_in: bool
) -> None:
    app, backend = ready(settings_of(written(REMOTE), database, airflow2_modules=modules))

    outcome = ask(app, backend, **environ)

    assert isinstance(outcome, Accept) is is_in


@pytest.mark.parametrize(
    ("modules", "problem"),
    [
        ({"remote_user_header": "X-Site-User", "remote_user_proxies": ["10.0.0.1"]}, "callers may send it"),
        ({"remote_user_header": "X-Remote-User"}, "remote_user_proxies: empty"),
    ],
)
def test_a_header_that_callers_can_send_names_no_remote_user(modules: dict[str, Any], problem: str) -> None:
    settings = parse_settings({"auth_backends": ["deny_all"], "airflow2_modules": modules}, origin="test")

    with pytest.raises(ConfigError, match=problem):
        load_chain(settings)


def test_an_attribute_on_top_of_the_request_stack_names_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site_sets_stack_top.py").write_text(
        "from flask import _request_ctx_stack, request, Response\n"
        "def init_app(app):\n    pass\n"
        "def requires_authentication(function):\n"
        "    def decorated(*args, **kwargs):\n"
        "        if request.headers.get('Authorization') != 'Bearer good':\n"
        "            return Response('no', 401)\n"
        "        _request_ctx_stack.top.user = 'alice'\n"
        "        return function(*args, **kwargs)\n"
        "    return decorated\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))  # pyright: ignore[reportUnknownMemberType]  # pytest does not type it
    (backend,) = load_chain(parse_settings({"auth_backends": ["site_sets_stack_top"]}, origin="test"))
    app = flask.Flask("test")
    backend.init_app(app)

    with app.test_request_context(headers={"Authorization": "Bearer good"}):
        outcome = backend.authenticate(Bearer("good"))

    assert isinstance(outcome, Reject)
    assert outcome.status == 403

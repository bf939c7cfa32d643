"""The chain in anybody's Flask app, which keeps what is its own."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import bcrypt
import flask
import pytest
from flask_login import LoginManager, UserMixin, current_user, login_user

import compat_auth
import compat_auth_backends
from compat_auth.extension import CompatAuth, current_identity, requires_authentication
from compat_auth.guard import set_flask_login_user
from compat_auth_backends import basic_auth
from support.stand_ins import basic

GOOD = {"Authorization": basic("alice", "pässwörd")}
WRONG = {"Authorization": basic("alice", "wrong")}


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    hashed = bcrypt.hashpw("pässwörd".encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"alice:{hashed}\n", encoding="utf-8")
    return {
        "auth_backends": ["session", "basic_auth"],
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(tmp_path / "users")},
    }


class User(UserMixin):  # type: ignore[misc]  # flask-login has no stubs
    id = "bob"


@pytest.fixture
def app(config: dict[str, Any]) -> flask.Flask:
    app = flask.Flask("third party")
    app.secret_key = "theirs"
    app.config["COMPAT_AUTH"] = config
    manager: Any = LoginManager(app)
    manager.user_loader(lambda _id: User())
    CompatAuth(app)
    app.add_url_rule("/login", "login", lambda: str(login_user(User())))
    app.register_error_handler(404, lambda _error: ("their own 404", 404))

    @app.get("/guarded")
    @requires_authentication
    def guarded() -> str:
        assert current_user.is_authenticated
        return current_identity.username

    return app


def test_ten_lines_with_the_module_alone(config: dict[str, Any]) -> None:
    app = flask.Flask("ten lines")
    app.config["COMPAT_AUTH"] = config
    basic_auth.init_app(app)
    app.add_url_rule("/", "x", basic_auth.requires_authentication(lambda: "in"))

    client = app.test_client()

    assert client.get("/", headers=GOOD).text == "in"
    assert client.get("/", headers=WRONG).status_code == 401
    assert client.get("/").headers["WWW-Authenticate"].startswith("Basic realm=")


def test_a_right_password_lets_in_without_a_cookie(app: flask.Flask) -> None:
    answer = app.test_client().get("/guarded", headers=GOOD)

    assert (answer.status_code, answer.text) == (200, "alice")
    assert "Set-Cookie" not in answer.headers


def test_a_signed_in_user_of_the_app_is_let_in_by_the_session(app: flask.Flask) -> None:
    client = app.test_client()
    client.get("/login")

    assert client.get("/guarded").text == "bob"


def test_a_wrong_password_is_refused_beside_a_valid_session(app: flask.Flask) -> None:
    client = app.test_client()
    client.get("/login")

    assert client.get("/guarded", headers=WRONG).status_code == 401
    assert client.get("/guarded").text == "bob"


def test_the_app_keeps_its_own_404(app: flask.Flask) -> None:
    assert app.test_client().get("/nowhere").text == "their own 404"


@pytest.mark.parametrize(
    ("headers", "result", "username"),
    [
        (GOOD, "accept", "alice"),
        (WRONG, "reject", "alice"),
        ({"Authorization": basic("nobody", "x")}, "reject", "(masked"),
        ({"Authorization": "Basic !!!"}, "reject", ""),
        ({"Authorization": "Bearer x"}, "skip", ""),
        ({}, "skip", ""),
    ],
)
def test_a_guarded_view_leaves_one_line_in_the_audit_log(
    app: flask.Flask, caplog: pytest.LogCaptureFixture, headers: dict[str, str], result: str, username: str
) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")

    app.test_client().get("/guarded", headers=headers)

    (line,) = (record.getMessage() for record in caplog.records if record.name == "compat_auth.audit")
    event = json.loads(line)
    # The name of nobody may be a password in the wrong field.
    assert (event["result"], event["username"].partition(" ")[0], event["path"]) == (result, username, "/guarded")


def test_a_module_s_own_guard_leaves_a_line_for_a_wrong_password(
    config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")
    app = flask.Flask("module")
    app.config["COMPAT_AUTH"] = config
    basic_auth.init_app(app)
    app.add_url_rule("/", "x", basic_auth.requires_authentication(lambda: "in"))

    app.test_client().get("/", headers=WRONG)

    (line,) = (record.getMessage() for record in caplog.records if record.name == "compat_auth.audit")
    assert json.loads(line)["result"] == "reject"


def test_flask_login_s_current_user_is_the_one_that_is_set_and_only_for_the_request(app: flask.Flask) -> None:
    user = User()

    with app.test_request_context():
        set_flask_login_user(user)
        inside, session = current_user._get_current_object(), dict(flask.session)
    with app.test_request_context():
        outside = current_user.is_authenticated

    assert inside is user
    assert (session, outside) == ({}, False)


def test_one_module_alone_knows_where_flask_login_keeps_the_user() -> None:
    roots = [Path(package.__file__ or "").parent for package in (compat_auth, compat_auth_backends)]

    knowing = [path.name for root in roots for path in root.rglob("*.py") if "_login_user" in _words(path)]

    assert knowing == ["guard.py"]


def _words(path: Path) -> set[str]:
    return set(re.findall(r"\w+", path.read_text("utf-8")))


def test_a_header_is_never_taken_for_the_word_of_a_gate(app: flask.Flask) -> None:
    headers = {"compat_auth.judged": "alice", "Compat-Auth-Judged": "alice"}

    answer = app.test_client().get("/guarded", headers=headers)

    assert answer.status_code == 401

"""Browsers and limited tokens in a Flask app of somebody's: the way to the login page, and who one is."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import bcrypt
import flask
import pytest
from flask.testing import FlaskClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from compat_auth.extension import CompatAuth, require, requires_authentication
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import personal_tokens_of
from support.stand_ins import basic

NAVIGATE = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html,*/*"}
PLAIN_HTTP = {"Accept": "text/html,application/xhtml+xml"}
SCRIPT = {"Sec-Fetch-Mode": "cors", "Accept": "*/*"}


def make_app(folder: Path, **more: Any) -> flask.Flask:
    hashed = bcrypt.hashpw(b"wonder", bcrypt.gensalt(4)).decode()
    (folder / "users").write_text(f"alice:{hashed}\n", encoding="utf-8")
    app = flask.Flask("somebody's")
    app.config["COMPAT_AUTH"] = {
        "auth_backends": ["session", "basic_auth", "personal_token"],
        "database_url": f"sqlite:///{folder / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(folder / "users")},
        "upstream": {"profile": "generic"},
        "session": {"secret": "s" * 32},
        **more,
    }
    CompatAuth(app)

    def reports(name: str = "") -> str:
        return f"reports {name}"

    for rule in ("/reports", "/reports/<path:name>"):
        app.add_url_rule(rule, rule, requires_authentication(reports), methods=["GET", "POST"])
    app.add_url_rule("/admin", "admin", require(any_of=["role:Admin"])(lambda: "admin"))
    return app


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    return make_app(tmp_path).test_client()


def led_to(location: str, prefix: str = "") -> str:
    parts = urlsplit(location)
    assert (parts.scheme, parts.netloc, parts.path) == ("", "", f"{prefix}/compat-auth/login")
    return parse_qs(parts.query)["next"][0]


@pytest.mark.parametrize("headers", [NAVIGATE, PLAIN_HTTP])
@pytest.mark.parametrize("path", ["/reports", "/reports?year=2026&q=a%2Fb", "/reports/a%20b"])
def test_a_browser_that_is_not_logged_in_is_led_to_the_login_and_back(
    client: FlaskClient, headers: dict[str, str], path: str
) -> None:
    answer = client.get(path, headers=headers)

    wanted = path if "%20" not in path else "/"
    assert (answer.status_code, led_to(answer.headers["Location"])) == (302, wanted)
    assert "WWW-Authenticate" not in answer.headers
    assert "no-store" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("headers", [SCRIPT, {}, {"Accept": "application/json"}, {"Accept": "*/*"}])
def test_a_script_and_a_program_get_a_401(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.get("/reports", headers=headers)

    assert answer.status_code == 401


def test_a_form_and_a_wrong_password_get_a_401(client: FlaskClient) -> None:
    form = client.post("/reports", headers=NAVIGATE)
    password = client.get("/reports", headers={**NAVIGATE, "Authorization": basic("alice", "wrong")})

    assert (form.status_code, password.status_code) == (401, 401)


def test_who_is_logged_in_and_may_not_is_not_led_in_circles(client: FlaskClient) -> None:
    page = client.get("/compat-auth/login").text
    token = page.split('name="token" value="')[1].split('"')[0]
    form = {"token": token, "username": "alice", "password": "wonder", "next": "/reports"}
    arrived = client.post("/compat-auth/login", data=form)

    allowed, forbidden = client.get("/reports", headers=NAVIGATE), client.get("/admin", headers=NAVIGATE)

    assert (arrived.status_code, arrived.headers["Location"]) == (303, "/reports")
    assert (allowed.status_code, forbidden.status_code) == (200, 403)


@pytest.mark.parametrize("cookie", ["garbage", "1.00000000.AAAA"])
def test_a_session_that_has_ended_leads_to_the_login(client: FlaskClient, cookie: str) -> None:
    client.set_cookie("compat_auth_session", cookie)

    answer = client.get("/reports", headers=NAVIGATE)

    assert (answer.status_code, led_to(answer.headers["Location"])) == (302, "/reports")


def test_an_app_below_a_path_leads_to_its_own_login(tmp_path: Path) -> None:
    mounted = DispatcherMiddleware(flask.Flask("root"), {"/team": make_app(tmp_path)})

    answer = Client(mounted).get("/team/reports", headers=NAVIGATE)

    assert led_to(answer.headers["Location"], "/team") == "/team/reports"


@pytest.mark.parametrize(
    "more",
    [
        {"session": {"secret": "s" * 32, "login": "upstream"}},
        {"session": {}, "auth_backends": ["basic_auth"]},
        {"mode": "airflow2"},
    ],
)
def test_where_it_is_not_wanted_a_browser_gets_a_401(tmp_path: Path, more: dict[str, Any]) -> None:
    answer = make_app(tmp_path, **more).test_client().get("/reports", headers=NAVIGATE)

    assert answer.status_code == 401


def test_who_one_is_is_told_in_a_flask_app_whatever_the_scopes(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    tokens = personal_tokens_of(app)
    assert tokens is not None
    text = tokens.create("alice", PersonalTokenRequest("narrow", ("GET /reports",)), by="alice").text

    answer = app.test_client().get("/compat-auth/whoami", headers={"Authorization": f"Bearer {text}"})

    content: Any = answer.json
    assert answer.status_code == 200
    assert (content["username"], content["scopes"]) == ("alice", ["GET /reports"])
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("headers", [{}, {"Authorization": basic("alice", "wrong")}, NAVIGATE])
def test_nobody_is_told_who_nobody_is(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.get("/compat-auth/whoami", headers=headers).status_code == 401


def test_what_is_described_in_a_flask_app_is_what_it_answers(client: FlaskClient) -> None:
    document: Any = client.get("/compat-auth/openapi.json").json

    assert {"/compat-auth/whoami", "/compat-auth/session", "/compat-auth/api/personal-tokens"} <= set(document["paths"])
    assert "/auth/token" not in document["paths"]
    for path, operations in document["paths"].items():
        if "get" in operations:
            assert client.get(path.replace("{id}", "x")).status_code != 404, path

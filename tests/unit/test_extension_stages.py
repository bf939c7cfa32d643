"""Stages in anybody's Flask app: every guarded view, and the pages of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bcrypt
import flask
import pytest

from compat_auth.extension import CompatAuth, current_identity, requires_authentication
from compat_auth.stages.of_app import set_stages
from compat_auth.stages.rules import StageRule
from support.staged import NOON, PAGE, Moment, brownout, rule, stages_with
from support.stand_ins import basic

GOOD = {"Authorization": basic("alice", "pässwörd")}
WRONG = {"Authorization": basic("alice", "wrong")}


def app_with(tmp_path: Path, *staged: StageRule, now: Moment | None = None) -> flask.Flask:
    hashed = bcrypt.hashpw("pässwörd".encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"alice:{hashed}\n", encoding="utf-8")
    app = flask.Flask("third party")
    settings: dict[str, Any] = {
        "auth_backends": ["basic_auth", "deny_all"],
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(tmp_path / "users")},
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
    }
    app.config["COMPAT_AUTH"] = settings
    site = CompatAuth(app)
    set_stages(app, stages_with(*staged, now=now, backends=site.chain.backends))

    @app.route("/guarded/<path:name>", methods=["GET", "POST"])
    @requires_authentication
    def guarded(name: str) -> flask.Response:
        del name
        return flask.make_response(current_identity.username, {"Deprecation": "@1", "Link": "</next>; rel=next"})

    return app


def test_a_warned_login_sees_the_announcement_of_its_end(tmp_path: Path) -> None:
    app = app_with(tmp_path, rule("warn", "basic_auth", deprecated=NOON, sunset=NOON + 60))

    answer = app.test_client().get("/guarded/x", headers=GOOD)

    assert (answer.status_code, answer.text) == (200, "alice")
    assert answer.headers.getlist("Deprecation") == ["@1800000000"]
    assert answer.headers.getlist("Sunset") == ["Fri, 15 Jan 2027 08:01:00 GMT"]
    assert answer.headers.getlist("Link") == [
        "</next>; rel=next",
        f'<{PAGE}>; rel="sunset", <{PAGE}>; rel="deprecation"',
    ]


@pytest.mark.parametrize("path", ["/guarded/x", "/compat-auth/whoami"])
def test_a_brownout_refuses_to_the_second(path: str, tmp_path: Path) -> None:
    now = Moment(NOON - 0.001)
    client = app_with(tmp_path, brownout(NOON, 60, "basic_auth"), now=now).test_client()

    before = client.get(path, headers=GOOD).status_code
    now.second = NOON
    refused = client.get(path, headers=GOOD)
    now.second = NOON + 60
    after = client.get(path, headers=GOOD).status_code

    assert (before, refused.status_code, after) == (200, 410, 200)
    assert refused.headers["Retry-After"] == "60"
    assert refused.content_type == "application/problem+json"


def test_a_wrong_password_is_refused_as_ever(tmp_path: Path) -> None:
    plain = app_with(tmp_path).test_client().get("/guarded/x", headers=WRONG)
    staged = app_with(tmp_path, rule("off", "basic_auth")).test_client().get("/guarded/x", headers=WRONG)

    assert (plain.status_code, plain.text, dict(plain.headers)) == (
        staged.status_code,
        staged.text,
        dict(staged.headers),
    )


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        pytest.param("/guarded/x", "HEAD", {}, id="head-for-get"),
        pytest.param("/guarded/%78", "GET", {}, id="encoded-letter"),
        pytest.param("/guarded/x", "POST", {"X-HTTP-Method-Override": "get"}, id="override"),
    ],
)
def test_no_spelling_of_an_operation_escapes(path: str, method: str, headers: dict[str, str], tmp_path: Path) -> None:
    app = app_with(tmp_path, rule("off", operation="GET /guarded/x"))

    answer = app.test_client().open(path, method=method, headers={**GOOD, **headers})

    assert answer.status_code == 401


def test_an_app_without_a_store_has_no_stages(tmp_path: Path) -> None:
    app = app_with(tmp_path)
    app.extensions.pop("compat_auth_stages")

    assert app.test_client().get("/guarded/x", headers=GOOD).status_code == 200
    assert not (tmp_path / "store.db").exists()

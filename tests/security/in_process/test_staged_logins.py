"""A session is no way around a stage: at the login page, and for a session that began before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from compat_auth.composition.decider import create_flask_app
from compat_auth.config import parse_settings
from compat_auth.stages.of_app import set_stages
from compat_auth.stages.rules import StageRule
from support.security.browser import Browser
from support.staged import PAGE, rule, stages_with

HASH = bcrypt.hashpw("wonderländ".encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    (tmp_path / "htpasswd").write_text(f"alice:{HASH}\n")
    (tmp_path / "htpasswd").chmod(0o600)
    content: dict[str, Any] = {
        "auth_backends": ["session", "basic_auth", "personal_token"],
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(tmp_path / "htpasswd")},
        "session": {"secret": "s" * 32},
        "upstream": {"url": "http://127.0.0.1:9", "profile": "airflow-simple"},
        "token": {"strategy": "shared_secret", "secret": "t" * 64},
    }
    browser = Browser(create_flask_app(parse_settings(content, origin="test")))
    yield browser
    browser.close()


def stage(browser: Browser, *rules: StageRule) -> None:
    set_stages(browser.app, stages_with(*rules, backends=browser.app.extensions["compat_auth"].chain.backends))


def test_the_login_page_says_why_a_login_that_is_off_begins_no_session(browser: Browser) -> None:
    stage(browser, rule("off", "basic_auth"))

    answer = browser.log_in()

    assert (answer.status_code, browser.session()) == (403, None)
    assert PAGE in answer.text


def test_a_wrong_password_is_told_nothing_of_the_stage(browser: Browser) -> None:
    stage(browser, rule("off", "basic_auth"))

    answer = browser.log_in("alice", "wrong")

    assert (answer.status_code, PAGE in answer.text) == (403, False)


def test_sessions_can_stay_on_when_passwords_are_off(browser: Browser) -> None:
    stage(browser, rule("off", "basic_auth"), rule("on", "session"))

    assert browser.log_in().status_code == 303


@pytest.mark.parametrize("backend", ["basic_auth", "session"])
def test_a_session_from_before_is_refused_once_the_login_is_off(browser: Browser, backend: str) -> None:
    browser.log_in()
    before = browser.open("/compat-auth/api/personal-tokens")

    stage(browser, rule("off", backend))
    after = browser.open("/compat-auth/api/personal-tokens")

    assert (before.status_code, after.status_code) == (200, 401)
    assert PAGE in after.text

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
from compat_auth.stages.rules import Stage, StageRule, Window
from support.security.browser import Browser
from support.staged import NOON, PAGE, rule, stages_with

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
        "personal_tokens": {"admins": ["user:alice"]},
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


ACCOUNT = ("/compat-auth/", "/compat-auth/tokens", "/compat-auth/tokens/refresh?id=x", "/compat-auth/sessions")
MANAGEMENT = ("/compat-auth/report", "/compat-auth/report.csv", "/compat-auth/report.json", "/compat-auth/all-tokens")


@pytest.mark.parametrize("backend", ["basic_auth", "session"])
def test_the_account_pages_of_a_session_whose_backend_is_off_are_the_way_out(browser: Browser, backend: str) -> None:
    browser.log_in()
    before = [browser.open(path).status_code for path in ACCOUNT]

    stage(browser, rule("off", backend))
    after = [browser.open(path).status_code for path in ACCOUNT]

    assert after == before


@pytest.mark.parametrize("backend", ["", "basic_auth", "session"])
@pytest.mark.parametrize("path", ACCOUNT)
def test_no_page_opens_for_a_user_whose_login_is_off(browser: Browser, path: str, backend: str) -> None:
    browser.log_in()

    stage(browser, rule("off", backend, principal="ALICE"))
    answer = browser.open(path)

    assert answer.status_code == 403
    assert PAGE in answer.text


def test_a_user_whose_login_is_off_makes_no_token_and_may_log_out(browser: Browser) -> None:
    browser.log_in()
    token = browser.token("/compat-auth/tokens")

    stage(browser, rule("off", principal="alice"))
    made = browser.open("/compat-auth/tokens", {"token": token, "name": "new"})
    asked = browser.open("/compat-auth/logout")
    out = browser.open("/compat-auth/logout", {"token": token})

    assert (made.status_code, asked.status_code, out.status_code) == (403, 200, 303)
    assert browser.session() is None


@pytest.mark.parametrize("stage_now", ["warn", "throttle"])
def test_a_user_whose_login_works_still_reads_the_account_pages(browser: Browser, stage_now: Stage) -> None:
    browser.log_in()

    stage(browser, rule(stage_now, principal="alice", per_minute=1 if stage_now == "throttle" else 0))

    assert [browser.open("/compat-auth/tokens").status_code for _ in range(3)] == [200, 200, 200]


def test_a_page_in_a_brownout_of_a_user_says_when_it_ends(browser: Browser) -> None:
    browser.log_in()

    stage(browser, rule("brownout", principal="alice", windows=(Window(NOON, 60),)))
    answer = browser.open("/compat-auth/tokens")

    assert (answer.status_code, answer.headers["Retry-After"]) == (410, "60")
    assert PAGE in answer.headers["Link"]


@pytest.mark.parametrize("path", MANAGEMENT)
@pytest.mark.parametrize("backend", ["basic_auth", "session"])
def test_pages_of_administrators_honour_the_stage_of_a_backend(browser: Browser, path: str, backend: str) -> None:
    browser.log_in()

    stage(browser, rule("off", backend))
    refused = browser.open(path)
    stage(browser, rule("warn", backend, deprecated=NOON))
    warned = browser.open(path)

    assert refused.status_code == 403
    assert PAGE in refused.text
    assert (warned.status_code != 403, warned.headers["Deprecation"]) == (True, f"@{NOON}")

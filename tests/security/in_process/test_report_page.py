"""The report under attack: who may read it, and what names do in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from compat_auth.composition.decider import create_flask_app
from compat_auth.config import parse_settings
from compat_auth.identity import Identity
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import personal_tokens_of
from compat_auth.store.migration import open_store
from compat_auth.store.tables.usage import UsageRows
from compat_auth.usage.recorder import UsageRecorder, set_usage
from support.security.browser import Browser

HASH = bcrypt.hashpw("wonderländ".encode(), bcrypt.gensalt(4)).decode()
REPORT = "/compat-auth/report"
PAGES = (REPORT, f"{REPORT}.csv", f"{REPORT}.json", f"{REPORT}?format=csv", f"{REPORT}?format=json")
EVIL = "<script>alert(1)</script>\"'\n=1"


def content(tmp_path: Path, **more: Any) -> dict[str, Any]:
    users = tmp_path / "htpasswd"
    users.write_text(f"alice:{HASH}\nbob:{HASH}\n")
    users.chmod(0o600)
    return {
        "auth_backends": ["session", "basic_auth", "personal_token"],
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(users)},
        "session": {"secret": "s" * 32},
        "upstream": {"url": "http://127.0.0.1:9", "profile": "airflow-simple"},
        "token": {"strategy": "shared_secret", "secret": "t" * 64},
        "usage": {"admins": ["user:alice"]},
        **more,
    }


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[UsageRecorder]:
    recorder = UsageRecorder(UsageRows(open_store(f"sqlite:///{tmp_path / 'store.db'}")))
    yield recorder
    recorder.rows.close()


@pytest.fixture
def browser(tmp_path: Path, recorder: UsageRecorder) -> Iterator[Browser]:
    browser = Browser(create_flask_app(parse_settings(content(tmp_path), origin="test")))
    set_usage(browser.app, recorder)
    browser.log_in()
    recorder.count(
        "GET", "/api/v1/dags", identity=Identity("bob", backend="basic_auth"), agent=b"curl/8", address="10.1.2.3"
    )
    recorder.count("GET", "/api/v2/dags", identity=Identity(EVIL, backend="kerberos"), agent=b"Mozilla/5.0")
    recorder.flush()
    yield browser
    browser.close()


@pytest.mark.parametrize("page", PAGES)
def test_an_administrator_reads_the_report(page: str, browser: Browser) -> None:
    answer = browser.open(page)

    assert answer.status_code == 200
    assert "bob" in answer.text
    assert "10.1.2.0/24" in answer.text


@pytest.mark.parametrize("page", PAGES)
def test_another_user_does_not(page: str, browser: Browser) -> None:
    browser.client.delete_cookie("compat_auth_session", domain="gateway")
    browser.log_in("bob")

    answer = browser.open(page)

    assert answer.status_code == 403
    assert "10.1.2" not in answer.text
    assert "Report</a>" not in answer.text


@pytest.mark.parametrize("page", PAGES)
def test_nobody_without_a_session_does(page: str, browser: Browser) -> None:
    browser.client.delete_cookie("compat_auth_session", domain="gateway")

    answer = browser.open(page)

    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/compat-auth/login?")


@pytest.mark.parametrize("scopes", [("all",), ("GET /",), ("read",)])
@pytest.mark.parametrize("page", PAGES)
def test_no_token_opens_the_report_even_beside_a_session(page: str, scopes: tuple[str, ...], browser: Browser) -> None:
    tokens = personal_tokens_of(browser.app)
    assert tokens is not None
    token = tokens.create("alice", PersonalTokenRequest("x", scopes), by="alice").text

    answer = browser.open(page, Authorization=f"Bearer {token}")

    assert answer.status_code == 403
    assert "bob" not in answer.text


def test_without_admins_nobody_reads_it(tmp_path: Path, recorder: UsageRecorder) -> None:
    settings = content(tmp_path, usage={})
    browser = Browser(create_flask_app(parse_settings(settings, origin="test")))
    set_usage(browser.app, recorder)
    browser.log_in()

    answer = browser.open(REPORT)

    browser.close()
    assert answer.status_code == 403


def test_a_name_is_text_in_the_page(browser: Browser) -> None:
    answer = browser.open(REPORT)

    assert "<script" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text
    assert "script-src" not in answer.headers["Content-Security-Policy"]


def test_a_name_is_no_formula_in_the_download(browser: Browser) -> None:
    text = browser.open(f"{REPORT}.csv?user=%3Cscript").text

    assert all(line[:1] not in ("=", "+", "-", "@") for line in browser.open(f"{REPORT}.csv").text.split("\r\n"))
    assert text.count("\r\n") == 1


@pytest.mark.parametrize(
    "query",
    ["days=0", "days=-1", "days=99999", "days=%D9%A3", "days=x", "format=xml", "user=%00", "user=" + "x" * 600],
)
def test_a_filter_that_cannot_be_is_refused(query: str, browser: Browser) -> None:
    assert browser.open(f"{REPORT}?{query}").status_code == 400


@pytest.mark.parametrize("value", ["'; DROP TABLE compat_auth_usage; --", "%25", "_", "\\", EVIL, "\ud7ff"])
def test_a_filter_finds_only_what_it_names(value: str, browser: Browser) -> None:
    answer = browser.client.get(REPORT, base_url="http://gateway", query_string={"operation": value, "backend": value})

    assert answer.status_code == 200
    assert "10.1.2" not in answer.text
    assert "<script" not in answer.text


def test_a_drill_down_leads_to_one_script(browser: Browser) -> None:
    links = re.findall(r'href="([^"]*report\?[^"]*network[^"]*)"', browser.open(REPORT).text)

    (found,) = [link.replace("&amp;", "&") for link in links if "bob" in link]
    answer = browser.open(found)

    assert "GET /api/v1/dags" in answer.text
    assert "Operations in use" in answer.text


def test_each_chart_has_a_title_and_a_description(browser: Browser) -> None:
    text = browser.open(REPORT).text

    charts = re.findall(r"<svg[^>]*>.*?</svg>", text, re.DOTALL)
    assert len(charts) == 3
    for chart in charts:
        ids = re.findall(r'aria-labelledby="([^"]*)"', chart)[0].split()
        assert 'role="img"' in chart
        assert [f'<title id="{ids[0]}">' in chart, f'<desc id="{ids[1]}">' in chart] == [True, True]


def test_reading_and_a_refusal_are_audited(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="compat_auth.audit")

    browser.open(f"{REPORT}?user=bob")

    assert "report read" in caplog.text


def test_a_download_that_is_cut_is_named_so(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = browser.open(f"{REPORT}.csv")
    monkeypatch.setattr("compat_auth.web.report.page.MAX_EXPORTED", 1)

    cut = browser.open(f"{REPORT}.csv")

    assert "usage.csv" in whole.headers["Content-Disposition"]
    assert "usage-incomplete.csv" in cut.headers["Content-Disposition"]
    assert len(cut.text.splitlines()) == 2


def test_a_choice_that_finds_nothing_says_so(browser: Browser) -> None:
    text = browser.open(f"{REPORT}?user=nobody").text

    assert "No usage is recorded for this choice" in text
    assert "recorded since" in text

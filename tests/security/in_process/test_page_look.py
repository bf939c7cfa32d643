"""The site's name, logo and hint on the pages: they are text and an image, and they tell nobody who exists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from compat_auth.composition.decider import create_flask_app
from compat_auth.config import parse_settings
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.store.tables.sessions import SessionRows
from support.security.browser import HOST, Browser

PNG = b"\x89PNG\r\n\x1a\nimage"
LOGIN = "/compat-auth/login"
Start = Callable[..., Browser]


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    users, logo = tmp_path / "htpasswd", tmp_path / "logo.png"
    users.write_text(f"alice:{bcrypt.hashpw('wonderländ'.encode(), bcrypt.gensalt(4)).decode()}\n")
    users.chmod(0o600)
    logo.write_bytes(PNG)
    return {
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(users)},
        "session": {"secret": "s" * 32},
        "pages": {"site_name": "<i>Data & Co</i>", "logo": str(logo), "login_hint": "<b>Your LDAP</b>\npassword"},
        "upstream": {"url": "http://127.0.0.1:9", "profile": "airflow-simple"},
        "token": {"strategy": "shared_secret", "secret": "t" * 64},
    }


@pytest.fixture
def start(content: dict[str, Any]) -> Iterator[Start]:
    started: list[Browser] = []

    def begin(**pages: str) -> Browser:
        content["pages"].update(pages)
        started.append(Browser(create_flask_app(parse_settings(content, origin="test"))))
        return started[-1]

    yield begin
    for browser in started:
        browser.close()


def test_the_sites_name_logo_and_hint_are_on_the_login_page_as_text(start: Start) -> None:
    text = start().open(LOGIN).text

    assert "<title>Log in · &lt;i&gt;Data &amp; Co&lt;/i&gt;</title>" in text
    assert '<img src="/compat-auth/logo" alt="">' in text
    assert "&lt;b&gt;Your LDAP&lt;/b&gt;\npassword" in text
    assert "<i>" not in text
    assert "<b>" not in text


def test_the_name_is_in_the_header_of_every_page_with_a_way_back_to_airflow(start: Start) -> None:
    browser = start()
    browser.log_in()

    pages = [browser.open(f"/compat-auth/{path}").text for path in ("", "sessions", "logout")]

    for page in pages:
        header = page.partition("<header>")[2].partition("</header>")[0]
        assert "Data &amp; Co" in header
        assert '<a class="back" href="/">Back to Airflow</a>' in header
        assert page.count('class="brand"') == 1


def test_the_logo_is_an_image_that_no_browser_reads_as_anything_else(start: Start) -> None:
    answer = start().open("/compat-auth/logo")

    assert (answer.status_code, answer.data) == (200, PNG)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "private, max-age=3600"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_only_a_site_with_a_logo_may_load_images(start: Start) -> None:
    with_logo, without = start(), start(logo="")

    policies = [browser.open(LOGIN).headers["Content-Security-Policy"] for browser in (with_logo, without)]

    assert policies[0] == f"{policies[1]}; img-src 'self'"
    assert "img-src" not in policies[1]
    assert without.open("/compat-auth/logo").status_code == 404


def test_a_logo_that_is_no_image_stops_the_start(start: Start, tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_text("<svg><script>alert(1)</script></svg>")

    with pytest.raises(ConfigError, match=r"pages\.logo"):
        start(logo=str(tmp_path / "logo.svg"))


def focused(text: str) -> list[str]:
    return re.findall(r'<input id="(\w+)"[^>]* autofocus', text)


@pytest.mark.parametrize("username", ["alice", "nobody", "", "alice:x"])
def test_after_a_wrong_pair_the_password_has_the_focus_whoever_was_named(start: Start, username: str) -> None:
    browser = start()
    first = browser.open(LOGIN).text

    again = browser.log_in(username, "wrong").text

    assert focused(first) == ["username"]
    assert focused(again) == ["password"]
    assert f'name="username" value="{username}"' in again
    assert 'type="password" autocomplete="current-password" required autofocus aria-describedby="message">' in again


def test_an_expired_form_keeps_the_name_and_asks_for_the_password(start: Start) -> None:
    answer = start().open(LOGIN, {"token": "old", "username": "alice", "password": "wonderländ"}, Origin=HOST)

    assert answer.status_code == 400
    assert focused(answer.text) == ["password"]
    assert "wonderländ" not in answer.text


def test_a_store_that_is_away_is_an_error_page_and_no_login_form(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = start()
    browser.log_in()

    def fail(*_args: Any, **_options: Any) -> Any:
        raise BackendUnavailable("store at db.internal: no answer")

    monkeypatch.setattr(SessionRows, "list_live", fail)

    answer = browser.open("/compat-auth/sessions")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert "<h1>Not available at the moment</h1>" in answer.text
    assert "Wait 5 seconds" in answer.text
    assert "db.internal" not in answer.text
    assert 'type="password"' not in answer.text

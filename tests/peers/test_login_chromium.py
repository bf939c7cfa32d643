"""The login and logout pages in a real browser."""

from __future__ import annotations

from pathlib import Path

import bcrypt
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from support.peers.airflows import JWT_SECRET
from support.peers.chromium import new_window
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway

COOKIE = "compat_auth_session"
PASSWORD = "wonderländ"


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("users") / "htpasswd"
    path.write_text(f"alice:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def instance(gateway: StartGateway, echo_upstream: EchoUpstream, users: Path) -> Gateway:
    return gateway(
        {
            "basic_auth": {"directories": ["htpasswd"]},
            "htpasswd": {"file": str(users)},
            "session": {"secret": "a secret for nothing but this very test"},
            "upstream": {"url": echo_upstream.url, "profile": "airflow-simple", "roles": {"*": "VIEWER"}},
            "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        }
    )


@pytest.fixture
def page(chromium: BrowserContext, instance: Gateway) -> Page:
    page = chromium.new_page()
    page.goto(f"{instance.url}/compat-auth/login?next=/compat-auth/session")
    return page


def log_in(page: Page, password: str = PASSWORD) -> None:
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def test_a_login_leads_to_where_the_user_was_going(page: Page, instance: Gateway) -> None:
    log_in(page)

    page.wait_for_url(f"{instance.url}/compat-auth/session")
    assert '"username":"alice"' in page.inner_text("body")


def test_the_browser_keeps_cookies_that_no_script_and_no_other_site_can_use(
    page: Page, chromium: BrowserContext, instance: Gateway
) -> None:
    log_in(page)
    page.wait_for_url(f"{instance.url}/compat-auth/session")

    kept = {cookie.get("name"): cookie for cookie in chromium.cookies()}
    assert set(kept) == {COOKIE, "_token"}
    assert all(cookie.get("httpOnly") and cookie.get("sameSite") == "Lax" for cookie in kept.values())
    assert page.evaluate("document.cookie") == ""


def test_a_wrong_password_is_told_and_the_name_stays(page: Page, chromium: BrowserContext) -> None:
    log_in(page, "wrong")

    expect(page.get_by_role("alert")).to_have_text("User name or password is wrong.")
    expect(page.get_by_label("User name")).to_have_value("alice")
    expect(page.get_by_label("Password")).to_have_value("")
    assert COOKIE not in {cookie.get("name") for cookie in chromium.cookies()}


def test_another_host_is_never_gone_to(page: Page, instance: Gateway) -> None:
    page.goto(f"{instance.url}/compat-auth/login?next=//evil.example/")

    log_in(page)

    page.wait_for_url(f"{instance.url}/")


def test_the_keyboard_alone_will_do(page: Page, instance: Gateway) -> None:
    expect(page.get_by_label("User name")).to_be_focused()

    page.keyboard.type("alice")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")

    page.wait_for_url(f"{instance.url}/compat-auth/session")


def test_no_script_is_needed(chromium: BrowserContext, instance: Gateway) -> None:
    assert chromium.browser is not None
    page = new_window(chromium.browser, javascript=False).new_page()
    page.goto(f"{instance.url}/compat-auth/login?next=/compat-auth/session")

    log_in(page)

    page.wait_for_url(f"{instance.url}/compat-auth/session")


def test_after_logout_the_browser_is_nobody(page: Page, chromium: BrowserContext, instance: Gateway) -> None:
    log_in(page)
    page.wait_for_url(f"{instance.url}/compat-auth/session")
    page.goto(f"{instance.url}/compat-auth/logout")
    expect(page.get_by_text("You are logged in as alice.")).to_be_visible()

    page.get_by_role("button", name="Log out", exact=True).click()

    expect(page.get_by_role("heading")).to_have_text("You are logged out")
    assert not {COOKIE, "_token"} & {cookie.get("name") for cookie in chromium.cookies()}
    assert chromium.request.get(f"{instance.url}/compat-auth/session").status == 401


def test_another_sites_logout_form_ends_nothing_and_shows_who_is_still_logged_in(
    page: Page, chromium: BrowserContext, instance: Gateway
) -> None:
    log_in(page)
    page.wait_for_url(f"{instance.url}/compat-auth/session")
    form = f'<form method="post" action="{instance.url}/compat-auth/logout"><button>Go</button></form>'
    chromium.route("http://localhost:9/", lambda route: route.fulfill(body=form, content_type="text/html"))
    foreign = chromium.new_page()
    foreign.goto("http://localhost:9/")

    foreign.get_by_role("button", name="Go").click()

    foreign.wait_for_url(f"{instance.url}/compat-auth/logout")
    expect(foreign.get_by_text("You are logged in as alice.")).to_be_visible()
    assert COOKIE in {cookie.get("name") for cookie in chromium.cookies()}


def test_another_sites_form_logs_nobody_in(page: Page, chromium: BrowserContext, instance: Gateway) -> None:
    """A page on another origin posts the attacker's own name and password."""
    evil = chromium.new_page()
    evil.set_content(
        f'<form method="post" action="{instance.url}/compat-auth/login"><input name="username" value="alice">'
        f'<input name="password" value="{PASSWORD}"><button>Win a prize</button></form>'
    )

    with evil.expect_navigation() as navigation:
        evil.get_by_role("button").click()

    assert navigation.value.status == 400
    assert COOKIE not in {cookie.get("name") for cookie in chromium.cookies()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1200, 800), (360, 640)])
def test_the_page_fits_the_screen_and_the_style_is_loaded(
    page: Page, tmp_path: Path, size: tuple[int, int], scheme: str
) -> None:
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")

    page.reload()
    page.screenshot(path=tmp_path / "login.png")

    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(244, 245, 247)", "dark": "rgb(18, 22, 28)"}[scheme]
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert [error for error in errors if "favicon" not in error] == []
    assert page.get_by_role("button", name="Log in").bounding_box() is not None

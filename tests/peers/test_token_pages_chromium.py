"""The pages of personal tokens and sessions in a real browser: with keyboard, without script, on a phone, for everybody.

`REFRESH_SCREENSHOTS=1 ./test tests/peers/test_token_pages_chromium.py` writes the pictures of the documentation anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from playwright.sync_api import BrowserContext, Dialog, Page, expect

from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.config import Settings, parse_settings
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream
from support.peers.airflows import JWT_SECRET
from support.peers.chromium import barriers, new_window
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway

PASSWORD = "wonderländ"
IMAGES = Path(__file__).parents[2] / "docs/images"


@pytest.fixture
def settings(echo_upstream: EchoUpstream, tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "htpasswd"
    path.write_text(f"alice:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
    path.chmod(0o600)
    return {
        "auth_backends": ["session", "basic_auth", "personal_token"],
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(path)},
        "session": {"secret": "a secret for nothing but this very test"},
        "upstream": {"url": echo_upstream.url, "profile": "airflow-simple", "roles": {"*": "VIEWER"}},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
    }


@pytest.fixture
def instance(gateway: StartGateway, settings: dict[str, Any]) -> Iterator[Gateway]:
    instance = gateway(settings)
    yield instance
    instance.process.stop()


@pytest.fixture
def tokens(settings: dict[str, Any]) -> Iterator[PersonalTokens]:
    """The same store, for what a page could only make in months."""
    parsed: Settings = parse_settings(settings, origin="test")
    service = PersonalTokens.from_settings(parsed, RevocationEvents(), revoke_upstream=no_upstream)
    yield service
    service.rows.database.close()


@pytest.fixture
def page(chromium: BrowserContext, instance: Gateway) -> Page:
    return logged_in(chromium, instance)


def logged_in(window: BrowserContext, instance: Gateway) -> Page:
    page = window.new_page()
    page.goto(f"{instance.url}/compat-auth/tokens")
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{instance.url}/compat-auth/tokens")
    return page


def create(page: Page, name: str = "nightly-etl") -> str:
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Token created")
    return page.get_by_label("Your token").input_value()


def status(instance: Gateway, token: str) -> int:
    return instance.get("/compat-auth/whoami", headers={"Authorization": f"Bearer {token}"}).status_code


def test_a_token_is_made_copied_and_shown_once(page: Page, chromium: BrowserContext, instance: Gateway) -> None:
    chromium.grant_permissions(["clipboard-read", "clipboard-write"], origin=instance.url)
    expect(page.get_by_text("You have no tokens yet.")).to_be_visible()

    token = create(page)
    page.get_by_role("button", name="Copy token").click()

    expect(page.locator("#copied")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == token
    assert status(instance, token) == 200
    assert "cat_pat_" not in page.url
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_role("rowheader", name="nightly-etl")).to_be_visible()
    expect(page.get_by_text("ok", exact=True)).to_be_visible()
    assert token not in page.content()


def test_a_token_is_refreshed_and_revoked(page: Page, instance: Gateway) -> None:
    before = create(page)
    page.get_by_role("link", name="Done").click()

    page.get_by_role("link", name="Refresh nightly-etl").click()
    page.get_by_role("button", name="Refresh token").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Token refreshed")
    after = page.get_by_label("Your token").input_value()

    assert (status(instance, before), status(instance, after)) == (401, 200)
    page.get_by_role("link", name="Done").click()
    page.get_by_role("link", name="Revoke nightly-etl").click()
    page.get_by_role("button", name="Revoke token").click()
    expect(page.get_by_role("status")).to_contain_text("revoked")
    expect(page.get_by_text("You have no tokens yet.")).to_be_visible()
    assert status(instance, after) == 401


def test_no_script_is_needed(chromium: BrowserContext, instance: Gateway) -> None:
    assert chromium.browser is not None
    page = logged_in(new_window(chromium.browser, javascript=False), instance)

    token = create(page)

    assert status(instance, token) == 200
    expect(page.get_by_role("button", name="Copy token")).to_be_hidden()
    page.get_by_role("link", name="Done").click()
    page.get_by_role("link", name="Revoke nightly-etl").click()
    page.get_by_role("button", name="Revoke token").click()
    expect(page.get_by_role("status")).to_contain_text("revoked")
    assert status(instance, token) == 401


def test_the_keyboard_alone_will_do(page: Page, instance: Gateway) -> None:
    tab_to(page, "name")
    page.keyboard.type("by keyboard")
    tab_to(page, "limit")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your token")).to_be_focused()

    token = page.get_by_label("Your token").input_value()

    assert status(instance, token) == 200
    told = instance.get("/compat-auth/whoami", headers={"Authorization": f"Bearer {token}"}).json()
    assert told["scopes"] is None or "all" in str(told["scopes"])
    for link, heading in (("Done", "Personal tokens"), ("Revoke by keyboard", "Revoke by keyboard?")):
        tab_to_link(page, link)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    tab_to_link(page, "Revoke token")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("revoked")


def test_making_copying_and_revoking_need_no_mouse(page: Page, chromium: BrowserContext, instance: Gateway) -> None:
    chromium.grant_permissions(["clipboard-read", "clipboard-write"], origin=instance.url)
    page.reload()

    assert tabbed(page, "Create token") == [
        *("Start", "Tokens", "Sessions", "API", "Log out", "Back to Airflow"),
        *("name", "until", "limit", "scope", "dags", "scopes", "Create token"),
    ]
    tab_back_to(page, "name")
    page.keyboard.type("by keyboard")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your token")).to_be_focused()
    token = page.get_by_label("Your token").input_value()
    told = page.locator("#copied")
    # It is there before it has something to say, so that what it says is said aloud.
    expect(told).to_have_attribute("role", "status")
    expect(told).to_have_text("")
    assert tabbed(page, "Done") == ["Copy token", "Done"]
    tab_back_to(page, "Copy token")
    page.keyboard.press("Enter")
    expect(told).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == token
    for link, heading in (("Done", "Personal tokens"), ("Revoke by keyboard", "Revoke by keyboard?")):
        tab_to_link(page, link)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    expect(page.get_by_role("main")).to_contain_text(token.removeprefix("cat_pat_")[:12])
    page.keyboard.press("Escape")
    assert tabbed(page, "Cancel")[-2:] == ["Revoke token", "Cancel"]
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Personal tokens")
    assert status(instance, token) == 200
    for link, heading in (("Revoke by keyboard", "Revoke by keyboard?"), ("Revoke token", "Personal tokens")):
        tab_to_link(page, link)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    expect(page.get_by_role("status")).to_contain_text("revoked")
    assert status(instance, token) == 401


_FOCUSED = """() => {
  const at = document.activeElement, style = getComputedStyle(at);
  return [at.getAttribute("name") || at.textContent.trim(), style.outlineStyle === "solid" && parseFloat(style.outlineWidth) > 1];
}"""


def tabbed(page: Page, last: str) -> list[str]:
    """Press Tab until the last has the focus, and return what had it on the way; each must be seen to have it."""
    found: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name, is_seen = page.evaluate(_FOCUSED)
        assert is_seen, f"{name}: nobody sees that it has the focus"
        # A field for a date has several places to stop at.
        if name not in found:
            found.append(name)
        if name == last:
            return found
    pytest.fail(f"Tab does not lead to {last!r} but to {found}")


def tab_back_to(page: Page, name: str) -> None:
    """Press Shift and Tab until that has the focus."""
    for _ in range(20):
        page.keyboard.press("Shift+Tab")
        if page.evaluate(_FOCUSED)[0] == name:
            return
    pytest.fail(f"Tab does not lead back to {name!r}")


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the field of that name has the focus."""
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('name')") == name:
            return
    pytest.fail(f"Tab does not lead to {name!r}")


def tab_to_link(page: Page, text: str) -> None:
    """Press Tab until the link or button of that text has the focus, which must be seen."""
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == text:
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            return
    pytest.fail(f"Tab does not lead to {text!r}")


def test_an_error_has_the_focus_of_its_field(page: Page) -> None:
    create(page)
    page.get_by_role("link", name="Done").click()

    page.get_by_label("Name").fill("nightly-etl")
    page.get_by_role("button", name="Create token").click()

    expect(page.get_by_role("alert")).to_contain_text("choose another name")
    expect(page.get_by_label("Name")).to_be_focused()


def test_the_start_page_says_who_is_logged_in_and_leads_to_all_others(page: Page, instance: Gateway) -> None:
    page.goto(f"{instance.url}/compat-auth/")

    expect(page.get_by_role("heading", level=1)).to_have_text("Hello, alice")
    expect(page.get_by_text(f"curl -u alice {instance.url}/compat-auth/whoami")).to_be_visible()
    for name, path in (("Personal tokens", "tokens"), ("Sessions", "sessions"), ("API", "docs")):
        page.get_by_role("main").get_by_role("link", name=name, exact=True).click()
        page.wait_for_url(f"{instance.url}/compat-auth/{path}")
        page.goto(f"{instance.url}/compat-auth/")


def test_the_start_page_asks_for_a_login_first_and_comes_back(chromium: BrowserContext, instance: Gateway) -> None:
    page = chromium.new_page()
    page.goto(f"{instance.url}/compat-auth/")
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)

    page.get_by_role("button", name="Log in").click()

    page.wait_for_url(f"{instance.url}/compat-auth/")
    expect(page.get_by_role("link", name="Start")).to_have_attribute("aria-current", "page")


def test_a_name_that_is_script_runs_nowhere(page: Page) -> None:
    ran: list[str] = []

    def note(dialog: Dialog) -> None:
        ran.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", note)

    create(page, "<img src=x onerror=alert(1)>")
    page.get_by_role("link", name="Done").click()

    expect(page.get_by_role("rowheader")).to_contain_text("<img src=x onerror=alert(1)>")
    assert ran == []


def test_another_window_is_logged_out_from_here(page: Page, chromium: BrowserContext, instance: Gateway) -> None:
    assert chromium.browser is not None
    other = logged_in(new_window(chromium.browser), instance)
    page.get_by_role("link", name="Sessions").click()
    expect(page.get_by_text("this browser")).to_have_count(1)

    page.get_by_role("row").filter(has_not_text="this browser").get_by_role("button").click()

    expect(page.get_by_role("status")).to_contain_text("ended")
    other.reload()
    expect(other.get_by_role("heading", level=1)).to_have_text("Log in")
    page.get_by_role("button", name="Log out everywhere").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are logged out")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 320])
def test_every_page_is_for_everybody_and_fits_the_screen(
    page: Page, instance: Gateway, tokens: PersonalTokens, tmp_path: Path, width: int, scheme: str
) -> None:
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.set_viewport_size({"width": width, "height": 1500})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    shot = Shots(page, tmp_path, f"{width}-{scheme}")

    page.goto(f"{instance.url}/compat-auth/")
    shot("start")
    page.goto(f"{instance.url}/compat-auth/tokens")
    shot("tokens-empty")
    create(page)
    shot("token-made")
    token_id = fill(tokens)
    page.goto(f"{instance.url}/compat-auth/tokens?done=revoked")
    shot("tokens")
    page.get_by_label("Name").fill("nightly-etl")
    page.get_by_role("button", name="Create token").click()
    shot("tokens-error", allowed="409")
    for path in (f"tokens/refresh?id={token_id}", f"tokens/revoke?id={token_id}", "tokens/revoke?id=0", "sessions"):
        page.goto(f"{instance.url}/compat-auth/{path}")
        shot(path.partition("?")[0].replace("/", "-") + ("-none" if path.endswith("=0") else ""), allowed="404")
    page.goto(f"{instance.url}/compat-auth/logout")
    shot("logout")
    page.get_by_role("button", name="Log out", exact=True).click()
    shot("logged-out")
    page.goto(f"{instance.url}/compat-auth/login")
    shot("login")

    assert [error for error in errors if "favicon" not in error and "40" not in error] == []


@pytest.mark.parametrize("width", [1200, 320])
def test_the_administrators_list_and_an_error_page_are_for_everybody_and_fit_the_screen(
    chromium: BrowserContext, gateway: StartGateway, settings: dict[str, Any], tmp_path: Path, width: int
) -> None:
    branded = {"pages": {"site_name": "Data platform", "login_hint": "Use your LDAP password."}}
    instance = gateway({**settings, **branded, "personal_tokens": {"admins": ["user:alice"]}})
    page = logged_in(chromium, instance)
    page.set_viewport_size({"width": width, "height": 1500})
    shot = Shots(page, tmp_path, str(width))
    create(page)

    page.goto(f"{instance.url}/compat-auth/all-tokens")
    expect(page.get_by_role("link", name="All tokens")).to_have_attribute("aria-current", "page")
    shot("all-tokens")
    page.get_by_role("link", name="Revoke nightly-etl of alice").click()
    shot("all-tokens-revoke")
    page.get_by_role("button", name="Revoke token").click()
    expect(page.get_by_role("status")).to_contain_text("revoked")
    page.goto(f"{instance.url}/compat-auth/nothing")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such page")
    assert page.evaluate("getComputedStyle(document.querySelector('main')).borderRadius") == "12px"
    shot("error")
    page.get_by_role("link", name="Back to Airflow").click()
    page.wait_for_url(f"{instance.url}/")


def fill(tokens: PersonalTokens) -> str:
    """Make tokens of every state, and return the id of one."""
    make(tokens, PersonalTokenRequest("spark-lineage", ("POST /api/v2/dags/", "GET /api/v2/"), 90), age_days=80)
    make(tokens, PersonalTokenRequest("old-cron-job", ("dags:daily_report", "trigger"), 90), age_days=100)
    return make(tokens, PersonalTokenRequest("dashboard", ("read",), 200), age_days=40)


def make(tokens: PersonalTokens, wish: PersonalTokenRequest, *, age_days: int) -> str:
    tokens.now = lambda: time.time() - age_days * 86400
    return tokens.create("alice", wish, by="alice").token.id


class Shots:
    """Takes a picture of each page, and looks for what keeps people out."""

    def __init__(self, page: Page, folder: Path, suffix: str) -> None:
        self._page = page
        self._folder = Path(os.environ.get("SCREENSHOTS", folder))
        self._suffix = suffix

    def __call__(self, name: str, *, allowed: str = "") -> None:
        self._page.screenshot(path=self._folder / f"{name}-{self._suffix}.png", full_page=True)
        if f"{name}-{self._suffix}" in DOCUMENTED and os.environ.get("REFRESH_SCREENSHOTS"):
            end = self._page.evaluate("document.querySelector('main').getBoundingClientRect().bottom")
            self._page.screenshot(path=IMAGES / f"{name}.png", clip={"x": 0, "y": 0, "width": 1200, "height": end + 24})
        assert barriers(self._page) == [], name
        width = self._page.evaluate("window.innerWidth")
        assert self._page.evaluate("document.documentElement.scrollWidth") <= width, name


DOCUMENTED = {"tokens-1200-light", "token-made-1200-light", "sessions-1200-light"}

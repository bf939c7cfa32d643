"""After our login a real browser is logged in at the pages of a live Airflow 3.3, too."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from support.peers.airflows import Airflow3
from support.peers.fab import shared_secret
from support.peers.gateway import Gateway, StartGateway, call

pytestmark = pytest.mark.peer

OURS = ("compat_auth_session", "_token")


@pytest.fixture(scope="module")
def instance(airflow_fab: Airflow3, gateway: StartGateway) -> Gateway:
    settings = shared_secret(airflow_fab)
    settings["upstream"] = {**settings["upstream"], "protect": ["/api/", "/ui/"]}
    settings["session"] = {"secret": "a secret for nothing but this very test"}
    return gateway(settings)


def test_airflows_own_pages_know_who_has_logged_in_at_ours(chromium: BrowserContext, instance: Gateway) -> None:
    page = chromium.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{instance.url}/compat-auth/login?next=/dags")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill("admin")

    page.get_by_role("button", name="Log in").click()

    page.wait_for_url(f"{instance.url}/dags**")
    expect(page.get_by_role("link", name="tiny", exact=True).first).to_be_visible(timeout=60_000)


@pytest.fixture(scope="module")
def our_login(airflow_fab: Airflow3, gateway: StartGateway) -> Gateway:
    settings = shared_secret(airflow_fab)
    settings["session"] = {"secret": "a secret for nothing but this very test", "login": "ours"}
    settings["token"] = {**settings["token"], "ttl_s": 30}
    return gateway(settings)


def cookies_of(chromium: BrowserContext) -> dict[str, str]:
    cookies = {cookie.get("name", ""): cookie.get("value", "") for cookie in chromium.cookies()}
    return {name: value for name, value in cookies.items() if value}


def log_in(page: Page) -> None:
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill("admin")
    page.get_by_role("button", name="Log in").click()


def test_airflows_pages_lead_to_our_login_and_go_on_when_their_cookie_has_ended(
    chromium: BrowserContext, our_login: Gateway
) -> None:
    page = chromium.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{our_login.url}/dags")
    page.wait_for_url(f"{our_login.url}/compat-auth/login?next=**")
    log_in(page)
    page.wait_for_url(f"{our_login.url}/dags**")
    expect(page.get_by_role("link", name="tiny", exact=True).first).to_be_visible(timeout=60_000)
    chromium.clear_cookies(name="_token")

    asked = page.evaluate("fetch('/ui/auth/me').then(answer => answer.status)")
    chromium.clear_cookies(name="_token")
    page.reload()

    expect(page.get_by_role("link", name="tiny", exact=True).first).to_be_visible(timeout=60_000)
    assert asked == 200
    assert "_token" in cookies_of(chromium)


def test_a_link_to_a_line_of_a_page_is_followed_after_the_login(chromium: BrowserContext, our_login: Gateway) -> None:
    page = chromium.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{our_login.url}/dags/tiny?state=[a|b]#12")
    page.wait_for_url(f"{our_login.url}/compat-auth/login?next=**")

    log_in(page)

    page.wait_for_url(f"{our_login.url}/dags/tiny?state=%5Ba%7Cb%5D#12")
    expect(page.get_by_role("link", name="tiny", exact=True).first).to_be_visible(timeout=60_000)


def test_the_pages_of_fab_can_be_reached_by_who_has_logged_in_at_ours(
    chromium: BrowserContext, our_login: Gateway
) -> None:
    page = chromium.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{our_login.url}/compat-auth/login?next=/auth/users/list/")
    log_in(page)
    page.wait_for_url(f"{our_login.url}/auth/login/?next=**")
    page.locator("#username").fill("admin")
    page.locator("#password").fill("admin")

    page.locator("input[type=submit]").click()

    page.wait_for_url(f"{our_login.url}/auth/users/list/**")
    expect(page.get_by_text("viewer@example.com")).to_be_visible()


def test_after_airflows_own_logout_no_cookie_of_before_opens_anything(
    chromium: BrowserContext, instance: Gateway
) -> None:
    page = chromium.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{instance.url}/compat-auth/login?next=/dags")
    log_in(page)
    page.wait_for_url(f"{instance.url}/dags**")
    expect(page.get_by_role("link", name="tiny", exact=True).first).to_be_visible(timeout=60_000)
    copies = cookies_of(chromium)
    before = [call("GET", f"{instance.url}/api/v2/dags", cookies={name: copies[name]}).status_code for name in OURS]

    page.get_by_role("button", name="User").click()
    page.get_by_role("menuitem", name="Logout").click()
    page.get_by_role("button", name="Confirm").click()

    page.wait_for_url("**/auth/login/**")
    after = [call("GET", f"{instance.url}/api/v2/dags", cookies={name: copies[name]}).status_code for name in OURS]
    assert (before, after) == ([200, 200], [401, 401])
    assert call("GET", f"{instance.url}/api/v2/dags", cookies=copies).status_code == 401
    assert set(OURS).isdisjoint(cookies_of(chromium))

"""Signing in at a real OpenID provider, in a real browser and by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import pytest
import requests
from playwright.sync_api import BrowserContext, Page, expect

from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway
from support.peers.openid_provider import LOGIN_CLIENT, LOGIN_SECRET, MAX_HOPS, TIMEOUT_S, OpenIdProvider
from support.peers.openid_users import gateway_settings

COOKIE = "compat_auth_session"
SIGN_IN = "/compat-auth/sign-in/lab"
LABEL = "Log in with the Lab"
WHO = "/compat-auth/session"


@pytest.fixture(scope="module")
def instance(
    gateway: StartGateway, oidc_provider: OpenIdProvider, echo_upstream: EchoUpstream, airflow_users: str
) -> Gateway:
    issuer = {
        "issuer": oidc_provider.issuer,
        "sign_in": "lab",
        "sign_in_label": LABEL,
        "client_id": LOGIN_CLIENT,
        "client_secret": LOGIN_SECRET,
        "username_claim": "preferred_username",
    }
    backends = ["session", "basic_auth", "oidc"]
    sections: dict[str, Any] = {"oidc": {"issuers": [issuer]}, "basic_auth": {"directories": ["airflow_db"]}}
    settings = gateway_settings(echo_upstream, airflow_users, backends, **sections)
    instance = gateway({**settings, "session": {"secret": "a secret for nothing but this very test"}})
    oidc_provider.send_logins_to(f"{instance.url}{SIGN_IN}/callback")
    return instance


class Client:
    """Follows each redirect itself, and keeps cookies apart by host, as a browser does."""

    def __init__(self, instance: Gateway, provider: OpenIdProvider) -> None:
        self.instance = instance
        self._provider = provider
        self.ours = requests.Session()
        self._theirs = requests.Session()
        self.ours.trust_env = self._theirs.trust_env = False

    def close(self) -> None:
        self.ours.close()
        self._theirs.close()

    def begin(self, target: str = WHO) -> str:
        """Return where the browser is sent at the provider."""
        path = f"{self.instance.url}{SIGN_IN}?{urlencode({'next': target})}"
        return self.ours.get(path, allow_redirects=False, timeout=TIMEOUT_S).headers["Location"]

    def log_in_there(self, url: str, user: str) -> str:
        """Log in at the provider; return where it sends the browser back to."""
        url += f"&{urlencode({'login_hint': user})}"
        for _ in range(MAX_HOPS):
            answer = self._theirs.get(url, allow_redirects=False, timeout=TIMEOUT_S)
            url = urljoin(url, answer.headers["Location"])
            if url.startswith(self.instance.url):
                return url
        pytest.fail("the provider does not send the browser back", pytrace=False)

    def come_back(self, url: str) -> requests.Response:
        return self.ours.get(url, allow_redirects=False, timeout=TIMEOUT_S)

    def who(self) -> str | None:
        found: str | None = self.ours.get(f"{self.instance.url}{WHO}", timeout=TIMEOUT_S).json()["username"]
        return found


@pytest.fixture
def client(instance: Gateway, oidc_provider: OpenIdProvider) -> Iterator[Client]:
    client = Client(instance, oidc_provider)
    yield client
    client.close()


@pytest.fixture
def thief(instance: Gateway, oidc_provider: OpenIdProvider) -> Iterator[Client]:
    thief = Client(instance, oidc_provider)
    yield thief
    thief.close()


@pytest.fixture
def page(chromium: BrowserContext, instance: Gateway) -> Page:
    page = chromium.new_page()
    page.goto(f"{instance.url}/compat-auth/login?next={WHO}")
    return page


def test_the_button_leads_by_the_providers_page_to_where_the_user_was_going(page: Page, instance: Gateway) -> None:
    page.get_by_role("link", name=LABEL).click()
    expect(page.get_by_role("heading")).to_have_text("The lab's own login")

    page.get_by_role("button", name="alice", exact=True).click()

    page.wait_for_url(f"{instance.url}{WHO}")
    assert '"username":"alice"' in page.inner_text("body")


def test_the_session_opens_the_api_as_the_user(page: Page, chromium: BrowserContext, instance: Gateway) -> None:
    page.get_by_role("link", name=LABEL).click()
    page.get_by_role("button", name="alice", exact=True).click()
    page.wait_for_url(f"{instance.url}{WHO}")
    chromium.clear_cookies(name="_token")

    answer = chromium.request.get(f"{instance.url}/api/v2/dags")

    assert (answer.status, answer.json()["sub"]) == (200, "1")


@pytest.mark.parametrize("user", ["disabled", "stranger"])
def test_who_may_not_come_in_is_told_so_and_gets_no_session(
    page: Page, chromium: BrowserContext, instance: Gateway, user: str
) -> None:
    page.get_by_role("link", name=LABEL).click()
    page.get_by_role("button", name=user, exact=True).click()

    expect(page.get_by_role("alert")).to_have_text(f"{LABEL} did not work, or you have no access here.")
    assert not {COOKIE, "_token"} & {cookie.get("name") for cookie in chromium.cookies()}
    expect(page.get_by_role("link", name="Other ways to log in")).to_be_visible()


def test_who_says_no_at_the_provider_is_back_at_our_page(page: Page, chromium: BrowserContext) -> None:
    page.get_by_role("link", name=LABEL).click()
    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_role("alert")).to_contain_text("did not work")
    assert COOKIE not in {cookie.get("name") for cookie in chromium.cookies()}


def test_the_page_with_a_button_and_a_form_fits_a_phone(page: Page, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 360, "height": 640})

    page.screenshot(path=tmp_path / "sign_in.png")

    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    expect(page.get_by_label("Password")).to_be_visible()


def test_a_client_that_follows_by_hand_is_let_in(client: Client) -> None:
    back = client.come_back(client.log_in_there(client.begin(), "alice"))

    assert (back.status_code, back.headers["Location"]) == (303, WHO)
    assert client.who() == "alice"


def test_the_provider_says_who_it_is_and_it_is_checked(client: Client, oidc_provider: OpenIdProvider) -> None:
    url = client.log_in_there(client.begin(), "alice")
    assert dict(parse_qsl(urlsplit(url).query))["iss"] == oidc_provider.issuer

    without = re.sub(r"&iss=[^&]*", "", url)

    assert client.come_back(without).status_code == 403
    assert client.who() is None


def test_a_stolen_answer_logs_nobody_in(client: Client, thief: Client) -> None:
    url = client.log_in_there(client.begin(), "alice")

    assert thief.come_back(url).status_code == 400
    assert thief.who() is None


def test_a_stolen_code_in_an_attempt_of_the_thiefs_own_is_refused_by_the_provider(
    client: Client, thief: Client
) -> None:
    stolen = dict(parse_qsl(urlsplit(client.log_in_there(client.begin(), "alice")).query))["code"]
    own = thief.log_in_there(thief.begin(), "carol")

    answer = thief.come_back(re.sub(r"code=[^&]*", f"code={stolen}", own))

    assert answer.status_code == 403
    assert thief.who() is None


def test_an_answer_works_once(client: Client, thief: Client) -> None:
    begun = client.begin()
    kept = client.ours.cookies.copy()
    url = client.log_in_there(begun, "alice")
    assert client.come_back(url).status_code == 303
    thief.ours.cookies.update(kept)

    assert thief.come_back(url).status_code == 400
    assert thief.who() is None


def test_while_the_provider_is_down_the_page_says_so_and_the_form_goes_on(
    instance: Gateway, client: Client, oidc_provider: OpenIdProvider
) -> None:
    url = client.log_in_there(client.begin(), "alice")

    oidc_provider.stop()
    try:
        answer = client.come_back(url)
    finally:
        oidc_provider.start()

    assert answer.status_code == 503
    assert 'name="password"' in answer.text
    assert oidc_provider.url not in answer.text
    assert client.who() is None

"""Kerberos in a real browser with a ticket of a real KDC: the API by ticket, and one ticket for a whole session."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import bcrypt
import pytest
from playwright.sync_api import Page, expect

from support.peers.airflows import JWT_SECRET
from support.peers.chromium import Chromium, new_window
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway, call
from support.peers.kerberos import Kdc
from support.peers.kerberos_client import Tickets, negotiate
from support.peers.process import free_port
from support.serving import served

pytestmark = pytest.mark.peer

COOKIE = "compat_auth_session"
WHO = "/compat-auth/session"
SIGN_IN = f"/compat-auth/sign-in/kerberos?next={WHO}"
# Chromium loads GSSAPI only in a profile that has seen an invitation before.
HAS_SEEN_NEGOTIATE = {"net": {"received_http_auth_negotiate_headers": True}}
StartBrowser = Callable[..., Chromium]


@pytest.fixture(scope="module")
def settings(kdc: Kdc, echo_upstream: EchoUpstream, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    users = tmp_path_factory.mktemp("users") / "htpasswd"
    known = bcrypt.hashpw(b"local-password", bcrypt.gensalt(4)).decode()
    users.write_text(f"alice:{known}\ndisabled:!{known}\n", encoding="utf-8")
    users.chmod(0o600)
    return {
        "auth_backends": ["session", "kerberos", "basic_auth"],
        "kerberos": {
            "keytab": str(kdc.keytab("HTTP/localhost")),
            "replay_cache": str(kdc.folder / "browser-replays"),
            "sign_in": True,
        },
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(users)},
        "lookup": {"directories": ["htpasswd"]},
        "session": {"secret": "a secret for nothing but this very test"},
        "upstream": {"url": echo_upstream.url, "profile": "airflow-simple", "roles": {"*": "VIEWER"}},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "serve": {"bind": f"localhost:{free_port()}"},
    }


@pytest.fixture(scope="module")
def instance(gateway: StartGateway, settings: dict[str, Any]) -> Gateway:
    return gateway(settings)


@pytest.fixture
def start(kdc: Kdc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartBrowser]:
    """Start a browser with a ticket of a user, or with none."""
    running: list[Chromium] = []

    def begin(user: str = "alice", *, flags: tuple[str, ...] = ("--auth-server-allowlist=localhost",)) -> Chromium:
        environ = kdc.kinit(user) if user else {**kdc.env, "KRB5CCNAME": "FILE:/nonexistent"}
        browser = Chromium(tmp_path_factory.mktemp("chromium"), environ=environ, flags=flags)
        browser.seed(HAS_SEEN_NEGOTIATE)
        running.append(browser)
        browser.start()
        return browser

    yield begin
    for browser in running:
        browser.stop()


def status_of(page: Page, url: str) -> int:
    answer = page.goto(url)
    assert answer is not None
    return answer.status


def cookie_names(page: Page) -> set[str | None]:
    return {cookie.get("name") for cookie in page.context.cookies()}


def test_a_ticket_opens_the_api_at_the_first_visit_and_leaves_no_cookie(instance: Gateway, start: StartBrowser) -> None:
    with start().steered() as browser:
        page = browser.contexts[0].new_page()

        status = status_of(page, f"{instance.url}/api/v2/dags")

        assert (status, '"sub":"alice"' in page.inner_text("body").replace(" ", "")) == (200, True)
        assert cookie_names(page) == set()


class Forger(BaseHTTPRequestHandler):
    """Another site, whose page sends a form to where its query says."""

    def do_GET(self) -> None:
        """Answer with the form, which sends itself."""
        target = self.path.partition("?")[2]
        form = f"<form id=f method=post enctype=text/plain action={target}></form><script>f.submit()</script>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(form.encode())


def test_a_form_of_another_site_does_not_act_with_the_ticket(instance: Gateway, start: StartBrowser) -> None:
    with start().steered() as browser, served(Forger) as other_site:
        page = browser.contexts[0].new_page()
        page.goto(f"{instance.url}/api/v2/dags")

        with page.expect_response(lambda found: found.request.method == "POST" and found.status != 401) as answered:
            page.goto(f"{other_site}/?{instance.url}/api/v2/dags/tiny/dagRuns")

        assert answered.value.status == 403


def test_one_ticket_begins_a_session_that_needs_no_other(instance: Gateway, start: StartBrowser, kdc: Kdc) -> None:
    with start().steered() as browser:
        page = browser.contexts[0].new_page()
        page.goto(f"{instance.url}/compat-auth/login?next={WHO}")
        page.get_by_role("link", name="Log in with Kerberos").click()
        page.wait_for_url(f"{instance.url}{WHO}")
        cookies = {cookie.get("name"): cookie for cookie in page.context.cookies()}

        # Another window has the cookie and no ticket: its host is not one that tickets are shown to.
        other = new_window(browser)
        other.add_cookies([{"name": COOKIE, "value": str(cookies[COOKIE].get("value")), "url": instance.url}])
        answer = other.request.get(f"{instance.url}/api/v2/dags")

        assert '"username":"alice"' in page.inner_text("body")
        assert {COOKIE, "_token"} <= set(cookies)
        assert all(cookie.get("httpOnly") and cookie.get("sameSite") == "Lax" for cookie in cookies.values())
        assert (answer.status, answer.json()["sub"]) == (200, "alice")
        # The KDC gives tickets for an hour; Kerberos allows five minutes more for clocks.
        assert time.time() + 3000 < float(cookies[COOKIE].get("expires", 0)) <= time.time() + 3900


def test_a_private_window_shows_its_ticket_from_the_second_visit_on(instance: Gateway, start: StartBrowser) -> None:
    with start().steered() as browser:
        page = new_window(browser).new_page()

        statuses = [status_of(page, f"{instance.url}{SIGN_IN}") for _ in range(2)]

        assert statuses[-1] == 200
        assert page.url == f"{instance.url}{WHO}"


def test_without_a_ticket_the_page_says_so_and_the_form_is_near(instance: Gateway, start: StartBrowser) -> None:
    with start("").steered() as browser:
        page = browser.contexts[0].new_page()

        assert status_of(page, f"{instance.url}{SIGN_IN}") == 401

        expect(page.get_by_role("alert")).to_contain_text("your browser sent no credential")
        page.get_by_role("link", name="Other ways to log in").click()
        expect(page.get_by_label("Password")).to_be_visible()


def test_a_browser_that_was_not_told_to_trust_the_host_shows_no_ticket(instance: Gateway, start: StartBrowser) -> None:
    with start(flags=()).steered() as browser:
        page = browser.contexts[0].new_page()

        assert [status_of(page, f"{instance.url}{SIGN_IN}") for _ in range(2)] == [401, 401]


@pytest.mark.parametrize("user", ["disabled", "unknown"])
def test_who_may_not_come_in_gets_no_session(instance: Gateway, start: StartBrowser, user: str) -> None:
    with start(user).steered() as browser:
        page = browser.contexts[0].new_page()

        assert status_of(page, f"{instance.url}{SIGN_IN}") == 403

        assert cookie_names(page) == set()


def test_another_site_cannot_begin_a_session_with_the_visitors_ticket(instance: Gateway, start: StartBrowser) -> None:
    with start().steered() as browser:
        page = browser.contexts[0].new_page()
        # Another host to the browser, and another site: not even the port is the same.
        page.set_content(f'<a href="{instance.url}{SIGN_IN}">A prize</a><img src="{instance.url}{SIGN_IN}">')
        page.wait_for_load_state("networkidle")
        before = cookie_names(page)

        page.get_by_role("link").click()

        expect(page.get_by_role("link", name="Log in with Kerberos")).to_be_visible()
        assert (before, cookie_names(page)) == (set(), set())


def test_another_site_cannot_change_anything_with_the_visitors_ticket(instance: Gateway, start: StartBrowser) -> None:
    """A form that needs no script: browsers answer the invitation that comes back by themselves."""
    with start().steered() as browser:
        page = browser.contexts[0].new_page()
        page.goto(f"{instance.url}/api/v2/dags")
        page.set_default_timeout(10_000)
        evil = browser.contexts[0].new_page()
        evil.set_content(f'<form method="post" action="{instance.url}/api/v2/dags"><button>A prize</button></form>')

        with evil.expect_navigation() as navigation:
            evil.get_by_role("button").click()

        assert navigation.value.status == 403


def test_a_program_gets_a_session_only_where_it_asks_for_one(instance: Gateway, kdc: Kdc) -> None:
    tickets = Tickets(kdc)
    api = call("GET", f"{instance.url}/api/v2/dags", headers=negotiate(tickets.token("alice")))
    login = call("GET", f"{instance.url}{SIGN_IN}", headers=negotiate(tickets.token("alice")))

    assert (api.status_code, dict(api.cookies)) == (200, {})
    assert (login.status_code, set(login.cookies.keys())) == (303, {COOKIE, "_token"})

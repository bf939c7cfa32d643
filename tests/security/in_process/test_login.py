"""The login pages under attack: fixation, forged forms, guesses, limited credentials, oversized bodies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from compat_auth.app import Gateway
from compat_auth.authn.chain import Chain
from compat_auth.composition.decider import create_flask_app
from compat_auth.config import Settings, parse_settings
from compat_auth.errors import BackendUnavailable, NoSuchUser
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Reject
from compat_auth.scopes import parse_scope
from compat_auth.web.login_completion import set_cookie_token_issuer
from compat_auth.web.throttling import PER_CLIENT, PER_USER, LoginAttempts
from support.security.browser import COOKIE, HOST, Browser
from support.stand_ins import call, http_scope, scripted

HASH = bcrypt.hashpw("wonderländ".encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "htpasswd").write_text(f"alice:{HASH}\n")
    (tmp_path / "htpasswd").chmod(0o600)
    content: dict[str, Any] = {
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(tmp_path / "htpasswd")},
        "session": {"secret": "s" * 32},
        "upstream": {"url": "http://127.0.0.1:9", "profile": "airflow-simple"},
        "token": {"strategy": "shared_secret", "secret": "t" * 64},
    }
    return parse_settings(content, origin="test")


@pytest.fixture
def browser(settings: Settings) -> Iterator[Browser]:
    browser = Browser(create_flask_app(settings))
    yield browser
    browser.close()


def replace_chain(browser: Browser, says: Any) -> None:
    chain: Chain = browser.app.extensions["compat_auth"].chain
    # In its place: the pages hold this one.
    vars(chain).update(vars(Chain((scripted("basic_auth", says),), chain.mode)))


def test_the_right_password_begins_a_session_and_leads_on(browser: Browser) -> None:
    answer = browser.log_in(next="/dags?x=1")

    session = browser.session()
    assert (answer.status_code, answer.headers["Location"]) == (303, "/dags?x=1")
    assert session is not None
    assert (session.username, session.directory, session.backend) == ("alice", "htpasswd", "basic_auth")


def test_a_login_never_leads_to_another_host(browser: Browser) -> None:
    assert browser.log_in(next="//evil.example/").headers["Location"] == "/"
    shown = browser.open("/compat-auth/login?next=https://evil.example/").text
    assert "evil" not in shown


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("alice", "wrong"),
        ("nobody", "wonderländ"),
        ("alice", ""),
        ("", "wonderländ"),
        ("alice:x", "wonderländ"),
        ("alice\0", "wonderländ"),
        ("x" * 600, "x"),
        ("alice", "x" * 5000),
    ],
)
def test_every_wrong_pair_has_the_same_answer(browser: Browser, username: str, password: str) -> None:
    answer = browser.log_in(username, password)

    expected = browser.log_in("alice", "another wrong one")
    without_name = re.sub(r'value="[^"]*"', "", answer.text)
    assert answer.status_code == 403
    assert without_name == re.sub(r'value="[^"]*"', "", expected.text)
    assert browser.session() is None


def test_a_session_from_before_login_is_not_the_one_after(browser: Browser) -> None:
    planted = browser.sessions.start(Identity("mallory", "basic_auth"))
    value = browser.sessions.cookie.header(planted, secure=False).partition(";")[0].partition("=")[2]
    browser.client.set_cookie(COOKIE, value, domain="gateway")

    browser.log_in()

    session = browser.session()
    assert session is not None
    assert session.id != planted.id
    assert browser.sessions._rows.find_live(planted.id) is None


def test_each_login_has_a_new_id(browser: Browser) -> None:
    browser.log_in()
    first = browser.session()
    browser.log_in()
    second = browser.session()

    assert first is not None
    assert second is not None
    assert first.id != second.id
    assert browser.sessions._rows.find_live(first.id) is None


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "null"}]
)
def test_another_site_cannot_log_its_visitor_in(browser: Browser, headers: dict[str, str]) -> None:
    form = {"token": browser.token(), "username": "alice", "password": "wonderländ"}

    answer = browser.open("/compat-auth/login", form, **headers)

    assert answer.status_code == 400
    assert browser.session() is None


@pytest.mark.parametrize("token", ["", "short", "x" * 43])
def test_a_form_that_is_not_this_browsers_is_refused(browser: Browser, token: str) -> None:
    browser.token()

    answer = browser.open("/compat-auth/login", {"token": token, "username": "alice", "password": "wonderländ"})

    assert answer.status_code == 400
    assert browser.session() is None


def test_a_form_without_its_cookie_is_refused(browser: Browser) -> None:
    token = browser.token()
    browser.client.delete_cookie("compat_auth_session_form", domain="gateway")

    answer = browser.open("/compat-auth/login", {"token": token, "username": "alice", "password": "wonderländ"})

    assert answer.status_code == 400


def test_on_https_every_cookie_belongs_to_this_host_alone(browser: Browser) -> None:
    set_cookie_token_issuer(browser.app, lambda *_: Token("jwt", 2**40))
    form = {"token": browser.token(host="https://gateway"), "username": "alice", "password": "wonderländ"}

    answer = browser.open("/compat-auth/login", form, host="https://gateway")

    cookies = answer.headers.getlist("Set-Cookie")
    names = [value.partition("=")[0] for value in cookies]
    assert sorted(names) == ["__Host-compat_auth_session", "__Host-compat_auth_session_form", "_token"]
    assert all("; Secure" in value and "HttpOnly" in value and "SameSite=Lax" in value for value in cookies)


def test_guesses_from_one_address_are_slowed_down(browser: Browser) -> None:
    replace_chain(browser, Reject("wrong"))

    statuses = [browser.log_in(f"user{number}", "x").status_code for number in range(PER_CLIENT + 1)]

    assert statuses == [403] * PER_CLIENT + [429]


def test_a_house_behind_one_address_may_log_in_as_often_as_it_likes(browser: Browser) -> None:
    replace_chain(browser, Accept(Identity("alice", "basic_auth")))

    statuses = [browser.log_in(f"user{number}", "x").status_code for number in range(PER_CLIENT + 1)]

    assert statuses == [303] * (PER_CLIENT + 1)


def test_nobody_locks_a_user_out_for_another_address() -> None:
    attempts = LoginAttempts()
    for _ in range(10 * PER_CLIENT):
        attempts.wait_s("198.51.100.9", "alice")

    wait_s = attempts.wait_s("192.0.2.1", "alice")

    assert wait_s == 0


def test_guesses_for_one_user_from_many_addresses_are_slowed_down_whatever_the_spelling() -> None:
    attempts = LoginAttempts()

    waits = [
        attempts.wait_s(f"198.51.100.{number}", "Alice" if number % 2 else "alice") for number in range(PER_USER + 1)
    ]

    assert waits[:-1] == [0] * PER_USER
    assert 0 < waits[-1] <= 61
    assert attempts.wait_s("192.0.2.200", "bob") == 0


def test_a_user_is_not_kept_out_of_a_known_address_by_guesses_from_many_others() -> None:
    attempts = LoginAttempts()
    assert attempts.wait_s("2001:db8::1", "Alice") == 0
    attempts.remember("2001:db8::1", "Alice")
    for number in range(2 * PER_USER):
        attempts.wait_s(f"10.0.{number}.1", "alice")

    waits = [attempts.wait_s("2001:db8::2", "alice"), attempts.wait_s("192.0.2.1", "alice")]

    assert waits[0] == 0
    assert waits[1] > 0


def test_logins_that_succeed_do_not_count_against_a_name() -> None:
    attempts = LoginAttempts()

    waits: list[int] = []
    for number in range(2 * PER_USER):
        waits.append(attempts.wait_s(f"10.0.{number}.1", "alice"))
        attempts.remember(f"10.0.{number}.1", "alice")

    assert waits == [0] * (2 * PER_USER)


def test_workers_share_the_bound_of_an_address() -> None:
    workers = [LoginAttempts(workers=4) for _ in range(4)]

    looked_at = sum(worker.wait_s("192.0.2.1", f"user{number}") == 0 for worker in workers for number in range(50))

    assert looked_at == PER_CLIENT


def test_an_ipv6_customer_is_one_client() -> None:
    attempts = LoginAttempts()

    waits = [attempts.wait_s(f"2001:db8::{number:x}", f"user{number}") for number in range(PER_CLIENT + 1)]

    assert waits[-1] > 0
    assert attempts.wait_s("not an address", "bob") == 0


def test_too_many_attempts_say_when_to_come_back(browser: Browser) -> None:
    for _ in range(PER_CLIENT):
        browser.log_in("alice", "")

    answer = browser.log_in()

    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert browser.session() is None


@pytest.mark.parametrize(
    "identity",
    [
        Identity("alice", "tokens", scopes=(parse_scope("GET /"),)),
        Identity("robot", "tokens", role_account=True),
        Identity("alice", "tokens", expires_at=2**40),
    ],
)
def test_a_limited_credential_does_not_become_a_session(browser: Browser, identity: Identity) -> None:
    replace_chain(browser, Accept(identity))

    assert browser.log_in().status_code == 403
    assert browser.session() is None


def test_a_user_whom_the_upstream_does_not_have_gets_no_session(browser: Browser) -> None:
    def refuse(*_: object) -> Token:
        raise NoSuchUser("alice is unknown to Airflow")

    set_cookie_token_issuer(browser.app, refuse)

    answer = browser.log_in()

    assert answer.status_code == 403
    assert "Airflow" not in answer.text
    assert browser.session() is None


def test_a_source_that_is_down_is_503(browser: Browser) -> None:
    replace_chain(browser, BackendUnavailable("ldap ldap.internal is down"))

    answer = browser.log_in()

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "ldap.internal" not in answer.text


def test_a_form_that_is_too_large_is_refused(browser: Browser) -> None:
    assert browser.log_in(next="/" + "x" * 20000).status_code == 413


def test_what_was_typed_is_shown_as_text(browser: Browser) -> None:
    answer = browser.log_in('"><script>alert(1)</script>', "x")

    assert "<script" not in answer.text


def test_nothing_but_our_own_style_may_load_and_nobody_may_frame(browser: Browser) -> None:
    for path in ("/compat-auth/login", "/compat-auth/logout", "/compat-auth/pages.css", "/compat-auth/session"):
        answer = browser.open(path)

        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert "<script" not in answer.text
        assert " style=" not in answer.text


def test_logout_asks_first_and_a_get_ends_nothing(browser: Browser) -> None:
    browser.log_in()

    answer = browser.open("/compat-auth/logout")

    assert "alice" in answer.text
    assert browser.session() is not None


def test_logout_ends_the_session_and_takes_every_cookie(browser: Browser) -> None:
    set_cookie_token_issuer(browser.app, lambda *_: Token("jwt", 2**40))
    browser.log_in()
    before = browser.session()
    assert before is not None

    answer = browser.open("/compat-auth/logout", {"token": browser.token("/compat-auth/logout")})

    assert answer.headers["Location"] == "/compat-auth/logout"
    assert browser.client.get_cookie(COOKIE, "gateway") is None
    assert browser.client.get_cookie("_token", "gateway") is None
    assert browser.sessions._rows.find_live(before.id) is None
    assert "You are logged out" in browser.open("/compat-auth/logout").text


def test_log_out_everywhere_ends_the_other_browsers_sessions(browser: Browser) -> None:
    other = Browser(browser.app)
    other.log_in()
    session = other.session()
    assert session is not None
    browser.log_in()

    browser.open("/compat-auth/logout", {"token": browser.token("/compat-auth/logout"), "everywhere": "1"})

    assert browser.sessions._rows.find_live(session.id) is None


@pytest.mark.parametrize("headers", [{}, {"Origin": HOST}, {"Sec_Fetch_Site": "same-origin"}])
@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_logout_needs_the_sessions_own_token(browser: Browser, headers: dict[str, str], token: str) -> None:
    browser.log_in()

    assert browser.open("/compat-auth/logout", {"token": token}, **headers).status_code == 400
    assert browser.session() is not None


def test_another_site_cannot_log_its_visitor_out(browser: Browser) -> None:
    browser.log_in()
    token = browser.token("/compat-auth/logout")

    assert browser.open("/compat-auth/logout", {"token": token}, Sec_Fetch_Site="cross-site").status_code == 400
    assert browser.session() is not None


def test_a_page_learns_the_token_for_its_own_requests(browser: Browser) -> None:
    nobody = browser.open("/compat-auth/session")
    browser.log_in()
    session = browser.session()

    answer = browser.open("/compat-auth/session")

    assert session is not None
    assert (nobody.status_code, nobody.json) == (401, {"username": None})
    assert answer.json == {"username": "alice", "created": session.created, "csrf_token": session.csrf_token}
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_airflow_gets_its_own_cookie_only_for_a_profile_of_its_own(settings: Settings) -> None:
    upstream = settings.upstream.model_copy(update={"profile": "generic"})
    generic = settings.model_copy(update={"upstream": upstream})
    browser = Browser(create_flask_app(generic))
    set_cookie_token_issuer(browser.app, lambda *_: Token("jwt", 2**40))

    browser.log_in()

    assert browser.session() is not None
    assert browser.client.get_cookie("_token", "gateway") is None
    browser.close()


def test_airflows_cookie_ends_before_its_token(browser: Browser) -> None:
    set_cookie_token_issuer(browser.app, lambda *_: Token("jwt", 5))

    answer = browser.log_in()

    (cookie,) = [value for value in answer.headers.getlist("Set-Cookie") if value.startswith("_token=")]
    assert "Max-Age=0" in cookie


@pytest.mark.parametrize("is_read", [False, True])
def test_a_script_can_read_airflows_cookie_only_where_its_pages_must(settings: Settings, is_read: bool) -> None:
    """Airflow 3.0's pages take the token from the cookie; ours stays out of reach in any case."""
    upstream = settings.upstream.model_copy(update={"script_reads_cookie": is_read})
    browser = Browser(create_flask_app(settings.model_copy(update={"upstream": upstream})))
    set_cookie_token_issuer(browser.app, lambda *_: Token("jwt", 2**40))

    answer = browser.log_in()

    cookies = {value.partition("=")[0]: value for value in answer.headers.getlist("Set-Cookie")}
    assert ("HttpOnly" not in cookies["_token"]) is is_read
    assert "SameSite=Lax" in cookies["_token"]
    assert all("HttpOnly" in value for name, value in cookies.items() if name != "_token")
    browser.close()


def test_without_a_secret_there_is_no_login_page() -> None:
    app = create_flask_app(parse_settings({"auth_backends": ["session"]}, origin="test"))

    assert app.test_client().get("/compat-auth/login").status_code == 404


async def test_the_gate_takes_no_body_that_is_too_large(settings: Settings) -> None:
    gateway = Gateway(settings)

    answer = await call(gateway, http_scope(b"/compat-auth/login", method="POST"), body=b"x" * 20000)

    assert answer.status == 413


async def test_the_gate_serves_the_form_with_its_style(settings: Settings) -> None:
    gateway = Gateway(settings)

    form = await call(gateway, http_scope(b"/compat-auth/login", query=b"next=/dags"))
    style = await call(gateway, http_scope(b"/compat-auth/pages.css"))

    assert form.status == 200
    assert b'name="next" value="/dags"' in form.body
    assert len(form.values(b"content-length")) == len(form.values(b"content-type")) == 1
    assert style.values(b"content-type") == [b"text/css; charset=utf-8"]

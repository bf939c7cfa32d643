"""The administrators' page of all tokens under attack: by users, by stolen credentials, by other sites and by names."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from werkzeug.test import TestResponse

from compat_auth.authn.chain import Chain
from compat_auth.authn.session_registry import credential_id_of
from compat_auth.composition.decider import create_flask_app
from compat_auth.config import parse_settings
from compat_auth.credentials import Absent
from compat_auth.errors import BackendUnavailable
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Reject
from compat_auth.personal_tokens.request import NewToken, PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens, personal_tokens_of
from compat_auth.scopes import parse_scope
from compat_auth.store.tables.role_accounts import RoleAccount, RoleAccountRows
from compat_auth_backends.directories import htpasswd
from support.security.browser import HOST, Browser
from support.stand_ins import scripted

HASH = bcrypt.hashpw("wonderländ".encode(), bcrypt.gensalt(4)).decode()
LIST = "/compat-auth/all-tokens"
REVOKE = f"{LIST}/revoke"
OURS = {"Origin": HOST}
Start = Callable[..., Browser]


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    path.write_text(f"alice:{HASH}\nbob:{HASH}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def start(tmp_path: Path, users: Path) -> Iterator[Start]:
    started: list[Browser] = []

    def begin(admins: tuple[str, ...] = ("user:alice",), who: str = "alice") -> Browser:
        content: dict[str, Any] = {
            "auth_backends": ["session", "basic_auth", "personal_token"],
            "database_url": f"sqlite:///{tmp_path / 'store.db'}",
            "basic_auth": {"directories": ["htpasswd"]},
            "htpasswd": {"file": str(users)},
            "session": {"secret": "s" * 32},
            "upstream": {"url": "http://127.0.0.1:9", "profile": "airflow-simple"},
            "token": {"strategy": "shared_secret", "secret": "t" * 64},
            "personal_tokens": {"admins": list(admins), "per_user_limit": 100},
        }
        browser = Browser(create_flask_app(parse_settings(content, origin="test")))
        started.append(browser)
        if who:
            browser.log_in(who)
        return browser

    yield begin
    for browser in started:
        browser.close()


def service_of(browser: Browser) -> PersonalTokens:
    found = personal_tokens_of(browser.app)
    assert found is not None
    return found


def made(browser: Browser, owner: str = "bob", name: str = "etl") -> NewToken:
    return service_of(browser).create(owner, PersonalTokenRequest(name), by=owner)


def revoke(browser: Browser, token: NewToken, form_token: str | None = None, **headers: str) -> TestResponse:
    form_token = browser.token("/compat-auth/logout") if form_token is None else form_token
    return browser.open(REVOKE, {"token": form_token, "id": token.token.id}, **(headers or OURS))


def is_alive(browser: Browser, token: NewToken) -> bool:
    return any(found.id == token.token.id for found in service_of(browser).list())


def test_an_administrator_sees_the_tokens_of_all_users_and_the_role_accounts(start: Start) -> None:
    browser = start()
    made(browser, "bob", "his")
    made(browser, "alice", "hers")
    RoleAccountRows(service_of(browser).rows.database).add(RoleAccount("robot", "group:data", 1))

    answer = browser.open(LIST)

    assert answer.status_code == 200
    assert all(name in answer.text for name in ("his", "hers", "robot", "group:data"))
    assert '<a href="/compat-auth/all-tokens" aria-current="page">All tokens</a>' in answer.text


def test_a_revocation_asks_first_names_the_owner_and_is_in_the_audit_log(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    browser = start()
    token = made(browser)
    caplog.set_level(logging.INFO)
    asked = browser.open(f"{REVOKE}?id={token.token.id}")
    alive = is_alive(browser, token)

    answer = revoke(browser, token)

    assert "The token belongs to <strong>bob</strong>" in asked.text
    assert alive
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{LIST}?done=revoked")
    assert not is_alive(browser, token)
    with pytest.raises(Exception, match="revoked"):
        service_of(browser).verification.verify(token.text)
    lines = [record.getMessage() for record in caplog.records if "token revoked" in record.getMessage()]
    assert any("alice" in line and f"{token.token.id} of bob" in line for line in lines)


PATHS = (LIST, REVOKE, f"{REVOKE}?id=x", f"{LIST}?q=bob")


@pytest.mark.parametrize("path", PATHS)
def test_a_user_who_is_no_administrator_sees_and_revokes_nothing(
    start: Start, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    browser = start(who="bob")
    token = made(browser, "alice", "hers")
    caplog.set_level(logging.INFO)

    shown, sent = browser.open(path), revoke(browser, token)

    assert (shown.status_code, sent.status_code) == (403, 403)
    assert "hers" not in shown.text
    assert "all-tokens" not in shown.text
    assert "all-tokens" not in browser.open("/compat-auth/").text
    assert is_alive(browser, token)
    assert "not an administrator" in caplog.text


@pytest.mark.parametrize("path", PATHS)
def test_without_a_login_the_page_leads_to_the_login(start: Start, path: str) -> None:
    browser = start(who="")

    answers = [browser.open(path), browser.open(REVOKE, {"token": "x", "id": "y"}, **OURS)]

    assert {(answer.status_code, answer.headers["Location"]) for answer in answers} == {
        (303, "/compat-auth/login?next=/compat-auth/all-tokens")
    }


@pytest.mark.parametrize("path", PATHS)
def test_where_nobody_is_an_administrator_there_is_no_page(start: Start, path: str) -> None:
    assert start(()).open(path).status_code == 404


@pytest.mark.parametrize("kind", ["token", "scoped-token", "password"])
def test_no_other_credential_opens_the_page_not_even_beside_a_session(start: Start, kind: str) -> None:
    browser = start()
    scopes = ("GET /",) if kind == "scoped-token" else ("all",)
    text = service_of(browser).create("alice", PersonalTokenRequest("own", scopes), by="alice").text
    value = "Basic YWxpY2U6d29uZGVybMOkbmQ=" if kind == "password" else f"Bearer {text}"

    answers = [browser.open(LIST, Authorization=value), browser.open(LIST, X_API_Key=text)]

    assert [answer.status_code for answer in answers] == [303, 303]


@pytest.mark.parametrize("form_token", ["", "wrong"])
@pytest.mark.parametrize("headers", [{}, OURS, {"Sec_Fetch_Site": "same-origin"}], ids=["none", "origin", "site"])
def test_a_form_needs_the_sessions_own_token(start: Start, form_token: str, headers: dict[str, str]) -> None:
    browser = start()
    token = made(browser)

    answer = browser.open(REVOKE, {"token": form_token, "id": token.token.id}, **headers)

    assert answer.status_code == 400
    assert is_alive(browser, token)


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}],
    ids=["origin", "cross-site", "same-site"],
)
def test_another_site_revokes_nothing_even_with_the_token(start: Start, headers: dict[str, str]) -> None:
    browser = start()
    token = made(browser)

    answer = revoke(browser, token, **headers)

    assert answer.status_code == 400
    assert is_alive(browser, token)


def test_a_form_that_does_not_say_where_it_comes_from_revokes_nothing(start: Start) -> None:
    browser = start()
    token = made(browser)
    form = {"token": browser.token("/compat-auth/logout"), "id": token.token.id}

    answer = browser.open(REVOKE, form)

    assert answer.status_code == 403
    assert is_alive(browser, token)


@pytest.mark.parametrize("after", ["", "alice:!disabled\n"], ids=["deleted", "disabled"])
def test_an_administrator_who_was_removed_has_no_access_with_a_session_that_lives(
    start: Start, users: Path, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = start()
    token = made(browser)
    before = browser.open(LIST).status_code
    monkeypatch.setattr(htpasswd, "CHECK_INTERVAL_S", 0)

    users.write_text(f"bob:{HASH}\n{after}")
    shown, sent = browser.open(LIST), revoke(browser, token)

    assert before == 200
    assert (shown.status_code, sent.status_code) == (403, 403)
    assert is_alive(browser, token)


def answer_with(browser: Browser, monkeypatch: pytest.MonkeyPatch, says: Any) -> None:
    """Replace the chain by one backend; the pages hold this very object."""
    chain: Chain = browser.app.extensions["compat_auth"].chain
    for name, value in vars(Chain((scripted("session", says, takes=frozenset({Absent})),), chain.mode)).items():
        monkeypatch.setitem(vars(chain), name, value)


def own_identity(browser: Browser) -> Identity:
    session = browser.session()
    assert session is not None
    return Identity("alice", "session", subject="alice", credential_id=credential_id_of(session))


WRONG: dict[str, Callable[[Identity], Outcome]] = {
    "limited": lambda own: Accept(replace(own, scopes=(parse_scope("GET /compat-auth/all-tokens"),))),
    "role-account": lambda own: Accept(replace(own, role_account=True)),
    "certificate": lambda own: Accept(replace(own, backend="client_certificate", credential_id="certificate:1")),
    "front-proxy": lambda own: Accept(replace(own, backend="remote_user", credential_id="")),
    "anybody": lambda own: Accept(replace(own, backend="default", credential_id="")),
    "another-user": lambda own: Accept(replace(own, username="mallory")),
    "refused": lambda _own: Reject("disabled"),
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG)
def test_only_the_unlimited_session_itself_counts(
    start: Start, monkeypatch: pytest.MonkeyPatch, make: Callable[[Identity], Outcome]
) -> None:
    browser = start(("user:alice", "user:mallory"))
    token = made(browser)
    outcome = make(own_identity(browser))
    answer_with(browser, monkeypatch, outcome)

    shown, sent = browser.open(LIST), revoke(browser, token)

    assert (shown.status_code, sent.status_code) == (403, 403)
    assert is_alive(browser, token)


def test_the_chain_is_asked_about_the_session_itself(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = start()
    token = made(browser)
    answer_with(browser, monkeypatch, Accept(own_identity(browser)))

    shown, sent = browser.open(LIST), revoke(browser, token)

    assert (shown.status_code, sent.status_code) == (200, 303)


def test_a_directory_that_is_away_lets_nobody_in_and_hides_only_the_link(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = start()
    answer_with(browser, monkeypatch, BackendUnavailable("ldap: no answer"))

    shown, start_page = browser.open(LIST), browser.open("/compat-auth/")

    assert shown.status_code == 503
    assert start_page.status_code == 200
    assert "all-tokens" not in start_page.text


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "' x='"])
def test_names_and_searches_are_shown_as_text(start: Start, name: str) -> None:
    browser = start()
    token = made(browser, name=name)

    pages = [
        browser.open(LIST),
        browser.client.get(LIST, base_url=HOST, query_string={"q": name}),
        browser.client.get(LIST, base_url=HOST, query_string={"q": f"{name} none"}),
        browser.open(f"{REVOKE}?id={token.token.id}"),
    ]

    for page in pages:
        assert page.status_code == 200
        assert "<script>" not in page.text
        assert "<img" not in page.text
        assert ">49<" not in page.text


@pytest.mark.parametrize("text", ["%", "_", "\\", "' OR 1=1 --", "\0", "x" * 9000, "é", "b%"])
def test_a_search_is_a_text_and_no_pattern(start: Start, text: str) -> None:
    browser = start()
    made(browser, name="etl")

    answer = browser.client.get(LIST, base_url=HOST, query_string={"q": text})

    assert answer.status_code == 200
    assert ("No token matches" in answer.text) is (text != "\0")


@pytest.mark.parametrize(
    "query", ["page=0", "page=-1", "page=9999999999", "page=x", "page=²", "sort=password", "sort=", "done=<b>"]
)
def test_a_query_that_makes_no_sense_shows_the_list(start: Start, query: str) -> None:
    browser = start()
    made(browser)

    answer = browser.open(f"{LIST}?{query}")

    assert answer.status_code == 200
    assert "etl" in answer.text
    assert "<b>" not in answer.text


def test_a_long_list_is_shown_in_pages_and_found_by_user_name_and_id(start: Start) -> None:
    browser = start()
    tokens = [made(browser, name=f"n{number:02}") for number in range(41)]
    made(browser, "alice", "other")

    first, last = browser.open(f"{LIST}?q=bob&sort=name").text, browser.open(f"{LIST}?q=BOB&sort=name&page=3").text
    beyond = browser.open(f"{LIST}?q=bob&sort=name&page=9").text

    assert first.count("<tr") == 21
    assert "Page 1 of 3, 41 in all" in first
    assert "other" not in first
    assert 'href="/compat-auth/all-tokens?q=bob&amp;sort=name&amp;page=2"' in first
    assert re.findall(r"</code>|n40 <", last)
    assert last.count("<tr") == 2
    assert "Page 3 of 3" in beyond
    assert browser.open(f"{LIST}?q={tokens[7].token.id}").text.count("<tr") == 2

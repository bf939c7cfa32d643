"""The pages of personal tokens and of sessions under attack: forged forms, others' tokens, secrets that stay, script."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from werkzeug.test import TestResponse

from compat_auth.app import Gateway
from compat_auth.authn.upstream_tokens import set_upstream_tokens
from compat_auth.composition.decider import create_flask_app
from compat_auth.config import Settings, parse_settings
from compat_auth.crypto.personal_token_format import parse_text
from compat_auth.identity import Identity
from compat_auth.personal_tokens.request import NewToken, PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens, personal_tokens_of
from compat_auth.store.tables.sessions import digest_of
from compat_auth_backends.directories import htpasswd
from support.security.browser import HOST, Browser
from support.stand_ins import call, http_scope

HASH = bcrypt.hashpw("wonderländ".encode(), bcrypt.gensalt(4)).decode()
TOKENS = "/compat-auth/tokens"
SESSIONS = "/compat-auth/sessions"
PAGES = (TOKENS, SESSIONS)


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    path.write_text(f"alice:{HASH}\nbob:{HASH}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def content(tmp_path: Path, users: Path) -> dict[str, Any]:
    return {
        "auth_backends": ["session", "basic_auth", "personal_token"],
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(users)},
        "session": {"secret": "s" * 32},
        "upstream": {"url": "http://127.0.0.1:9", "profile": "airflow-simple"},
        "token": {"strategy": "shared_secret", "secret": "t" * 64},
        "personal_tokens": {"per_user_limit": 3, "max_days": 100},
    }


@pytest.fixture
def settings(content: dict[str, Any]) -> Settings:
    return parse_settings(content, origin="test")


@pytest.fixture
def browser(settings: Settings) -> Iterator[Browser]:
    browser = Browser(create_flask_app(settings))
    browser.log_in()
    yield browser
    browser.close()


def service_of(browser: Browser) -> PersonalTokens:
    found = personal_tokens_of(browser.app)
    assert found is not None
    return found


def made(browser: Browser, owner: str = "alice", name: str = "etl") -> NewToken:
    return service_of(browser).create(owner, PersonalTokenRequest(name), by=owner)


def day(ahead: int) -> str:
    return (datetime.now(UTC).date() + timedelta(days=ahead)).isoformat()


def create(browser: Browser, **form: str) -> TestResponse:
    return browser.open(
        TOKENS, {"token": browser.token(TOKENS), "name": "etl", "until": day(30), "limit": "read", **form}
    )


def shown_text(answer: TestResponse) -> str:
    found = re.search(r"cat_pat_[0-9A-Za-z]{50}", answer.text)
    assert found
    return found[0]


def test_a_token_is_made_and_works_and_is_shown_once(browser: Browser) -> None:
    answer = create(browser, limit="listed", scopes="GET /api/v2/dags/\r\n\r\n trigger ")

    text = shown_text(answer)
    token, _ = service_of(browser).verification.verify(text)
    assert answer.status_code == 200
    assert (token.username, token.name, token.scopes) == ("alice", "etl", ("GET /api/v2/dags/", "trigger"))
    assert datetime.fromtimestamp(token.expires - 1, UTC).date().isoformat() == day(30)
    assert text not in browser.open(TOKENS).text


def test_a_tokens_text_is_neither_kept_nor_logged(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    answer = create(browser)

    parsed = parse_text(shown_text(answer))
    assert parsed is not None
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Location" not in answer.headers
    assert parsed.value not in str(answer.headers)
    assert parsed.id in caplog.text
    assert parsed.value not in caplog.text


def test_a_refresh_shows_a_new_secret_and_the_old_one_is_dead(browser: Browser) -> None:
    before = made(browser)
    form = refresh_form(browser, before)

    answer = browser.open(f"{TOKENS}/refresh", form)

    assert service_of(browser).verification.find(shown_text(answer)).id == before.token.id
    with pytest.raises(Exception, match="wrong secret"):
        service_of(browser).verification.verify(before.text)


def test_the_refresh_page_proposes_as_many_days_as_the_token_had(browser: Browser) -> None:
    before = service_of(browser).create("alice", PersonalTokenRequest("etl", days=5), by="alice")

    shown = browser.open(f"{TOKENS}/refresh?id={before.token.id}").text

    last_day = datetime.fromtimestamp(before.token.expires - 1, UTC).date()
    assert f'value="{last_day}"' in shown


def refresh_form(browser: Browser, token: NewToken, **more: str) -> dict[str, str]:
    shown = browser.open(f"{TOKENS}/refresh?id={token.token.id}").text
    found = re.search(r'name="version" value="(\d+)"', shown)
    assert found
    form = {"token": browser.token(TOKENS), "id": token.token.id, "version": found[1], "until": day(9), "overlap": "0"}
    return {**form, **more}


def test_an_overlap_lets_the_old_secret_work_on(browser: Browser) -> None:
    before = made(browser)

    answer = browser.open(f"{TOKENS}/refresh", refresh_form(browser, before, overlap="3600"))

    assert shown_text(answer) != before.text
    assert service_of(browser).verification.verify(before.text)[0].id == before.token.id


def test_a_refresh_that_is_sent_twice_happens_once(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    before = made(browser)
    form = refresh_form(browser, before)
    now = service_of(browser).now
    monkeypatch.setattr(service_of(browser), "now", lambda: now() + 5)
    text = shown_text(browser.open(f"{TOKENS}/refresh", form))

    answer = browser.open(f"{TOKENS}/refresh", form)

    assert answer.status_code == 409
    assert service_of(browser).verification.find(text).id == before.token.id


@pytest.mark.parametrize("more", [{"overlap": "1"}, {"overlap": "x"}, {"until": "never"}, {"until": "1999-01-01"}])
def test_a_refresh_that_makes_no_sense_changes_nothing(browser: Browser, more: dict[str, str]) -> None:
    before = made(browser)

    answer = browser.open(f"{TOKENS}/refresh", refresh_form(browser, before, **more))

    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert service_of(browser).verification.find(before.text).refreshed is None


def test_a_revocation_asks_first_and_then_kills(browser: Browser) -> None:
    token = made(browser)
    asked = browser.open(f"{TOKENS}/revoke?id={token.token.id}")
    alive = service_of(browser).verification.verify(token.text)[0].revoked

    answer = browser.open(f"{TOKENS}/revoke", {"token": browser.token(TOKENS), "id": token.token.id})

    assert "Revoke etl?" in asked.text
    assert alive is None
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{TOKENS}?done=revoked")
    assert "is revoked" in browser.open(answer.headers["Location"]).text
    with pytest.raises(Exception, match="revoked"):
        service_of(browser).verification.verify(token.text)


@pytest.mark.parametrize("path", ["refresh", "revoke"])
def test_anothers_token_is_as_unknown_as_none(browser: Browser, path: str) -> None:
    others = made(browser, "bob", "his")

    answers = [
        browser.open(f"{TOKENS}/{path}?id={token_id}") for token_id in (others.token.id, "0" * 12, "", "x" * 9000)
    ]
    sent = browser.open(f"{TOKENS}/{path}", {"token": browser.token(TOKENS), "id": others.token.id, "until": day(3)})

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert sent.status_code == 404
    assert service_of(browser).verification.find(others.text).revoked is None
    assert "his" not in browser.open(TOKENS).text


ACTIONS = (TOKENS, f"{TOKENS}/refresh", f"{TOKENS}/revoke", SESSIONS)


@pytest.mark.parametrize("path", ACTIONS)
@pytest.mark.parametrize("headers", [{}, {"Origin": HOST}, {"Sec_Fetch_Site": "same-origin"}])
@pytest.mark.parametrize("form_token", ["", "wrong"])
def test_a_form_needs_the_sessions_own_token(
    browser: Browser, path: str, headers: dict[str, str], form_token: str
) -> None:
    token = made(browser)
    form = {"token": form_token, "id": token.token.id, "name": "b", "limit": "all", "until": day(3)}

    answer = browser.open(path, form, **headers)

    assert answer.status_code == 400
    assert [found.revoked for found in service_of(browser).list("alice")] == [None]
    assert service_of(browser).verification.verify(token.text)[0].refreshed is None


@pytest.mark.parametrize("path", ACTIONS)
@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "null"}]
)
def test_another_site_cannot_send_a_form_even_with_the_token(
    browser: Browser, path: str, headers: dict[str, str]
) -> None:
    form = {"token": browser.token(TOKENS), "name": "b", "limit": "all", "until": day(3)}

    answer = browser.open(path, form, **headers)

    assert answer.status_code == 400
    assert service_of(browser).list("alice") == ()


@pytest.mark.parametrize("page", [*PAGES, f"{TOKENS}/refresh", f"{TOKENS}/revoke"])
def test_whoever_is_not_logged_in_is_led_to_the_login_page(settings: Settings, page: str) -> None:
    browser = Browser(create_flask_app(settings))
    shown = page.removesuffix("/refresh").removesuffix("/revoke")

    answers = [browser.open(page), browser.open(page, {"token": "x", "name": "b"})]

    assert [answer.status_code for answer in answers] == [303, 303]
    assert {answer.headers["Location"] for answer in answers} == {f"/compat-auth/login?next={shown}"}
    assert browser.log_in(next=shown).headers["Location"] == shown
    browser.close()


@pytest.mark.parametrize("page", PAGES)
def test_no_token_and_no_password_opens_a_page(browser: Browser, page: str) -> None:
    """Not even beside a session: an explicit credential beats the cookie."""
    token = made(browser)
    alone = Browser(browser.app)

    for who in (alone, browser):
        for value in (f"Bearer {token.text}", "Basic YWxpY2U6d29uZGVybMOkbmQ="):
            assert who.open(page, Authorization=value).status_code == 303


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "' x='"])
def test_a_tokens_name_is_shown_as_text(browser: Browser, name: str) -> None:
    token = made(browser, name=name)

    pages = [
        browser.open(TOKENS),
        browser.open(f"{TOKENS}/revoke?id={token.token.id}"),
        browser.open(f"{TOKENS}/refresh?id={token.token.id}"),
        create(browser, name=name),
        browser.open(f"{TOKENS}/refresh", refresh_form(browser, token)),
    ]

    for page in pages:
        assert "<script>" not in page.text
        assert "<img" not in page.text
        assert "'>" not in page.text
        assert ">49<" not in page.text


@pytest.mark.parametrize("path", [*PAGES, "/compat-auth/copy.js", f"{TOKENS}/revoke?id=x", f"{TOKENS}/refresh?id=x"])
def test_nothing_may_be_framed_or_kept_or_run(browser: Browser, path: str) -> None:
    answer = browser.open(path)

    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "<script" not in answer.text
    assert " style=" not in answer.text


def test_only_the_page_with_a_new_token_runs_our_script_and_no_other(browser: Browser) -> None:
    answers = [create(browser, name="a"), create(browser, name="b")]

    nonces: set[str] = set()
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        found = re.search(r"; script-src 'nonce-([\w-]{43})'$", policy)
        assert found
        assert re.findall(r"<script[^>]*>", answer.text) == [
            f'<script src="/compat-auth/copy.js" nonce="{found[1]}" defer>'
        ]
        assert "'self'; form-action" in policy
        nonces.add(found[1])
    assert len(nonces) == 2


@pytest.mark.parametrize("path", ACTIONS)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_another_method_is_405(browser: Browser, path: str, method: str) -> None:
    assert browser.client.open(path, base_url=HOST, method=method).status_code == 405


@pytest.mark.parametrize(
    ("form", "field", "status"),
    [
        ({"name": ""}, "name", 422),
        ({"name": "x" * 65}, "name", 422),
        ({"name": "taken"}, "name", 409),
        ({"until": "soon"}, "until", 422),
        ({"until": "9999-12-31"}, "until", 422),
        ({"until": "2001-01-01"}, "until", 422),
        ({"limit": ""}, "scopes", 422),
        ({"limit": "admin"}, "scopes", 422),
        ({"limit": "listed", "scopes": " \n"}, "scopes", 422),
        ({"limit": "listed", "scopes": "BREW /coffee?"}, "scopes", 422),
        ({"limit": "listed", "scopes": "GET /\n" * 60}, "scopes", 422),
    ],
)
def test_an_error_stands_beside_its_field_and_what_was_typed_stays(
    browser: Browser, form: dict[str, str], field: str, status: int
) -> None:
    made(browser, name="taken")
    expected = {"name": "etl", "until": day(30), **form}

    answer = create(browser, **form)

    assert answer.status_code == status
    assert f'role="alert" id="{field}-error"' in answer.text
    assert re.search(
        rf'<\w+ id="{field}"[^>]* aria-invalid="true" autofocus aria-describedby="{field}-error', answer.text
    )
    assert f'name="name" value="{expected["name"]}"' in answer.text
    assert f'type="date" value="{expected["until"]}"' in answer.text
    assert len(service_of(browser).list("alice")) == 1


def test_boxes_dags_and_lines_make_the_scopes_together(browser: Browser) -> None:
    form = {
        "limit": "listed",
        "scope": "trigger",
        "dags": "daily, weekly  hourly",
        "scopes": "GET /api/v2/dags\n",
    }

    token, _ = service_of(browser).verification.verify(shown_text(create(browser, **form)))

    assert token.scopes == ("trigger", "dags:daily", "dags:weekly", "dags:hourly", "GET /api/v2/dags")


@pytest.mark.parametrize("more", [{"scope": "trigger"}, {"dags": "daily"}], ids=["box", "dag"])
@pytest.mark.parametrize("limit", ["read", "all"])
def test_a_box_that_would_not_count_is_an_error_and_stays_as_it_was(
    browser: Browser, limit: str, more: dict[str, str]
) -> None:
    answer = create(browser, limit=limit, **more)

    assert answer.status_code == 422
    assert 'role="alert" id="scopes-error"' in answer.text
    assert ('value="trigger" checked' in answer.text) is ("scope" in more)
    assert ('name="dags" value="daily"' in answer.text) is ("dags" in more)
    assert service_of(browser).list("alice") == ()


@pytest.mark.parametrize("dags", ["~", "..", "a/b", "a?b", "x" * 300, "<b>"])
def test_what_is_no_dag_makes_no_token(browser: Browser, dags: str) -> None:
    answer = create(browser, limit="listed", dags=dags)

    assert answer.status_code == 422
    assert "<b>" not in answer.text
    assert service_of(browser).list("alice") == ()


def test_more_than_a_page_of_tokens_can_be_searched_and_ordered(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = service_of(browser)
    few = [made(browser, name=name) for name in ("a", "b")]
    without_search = browser.open(TOKENS).text
    monkeypatch.setattr(service, "rules", service.rules.model_copy(update={"per_user_limit": 100}))
    for number in range(40):
        made(browser, name=f"n{number:02}")
    made(browser, "bob", "n-of-bob")

    first, last = browser.open(TOKENS).text, browser.open(f"{TOKENS}?page=3&sort=name").text
    found = browser.open(f"{TOKENS}?q=n07").text
    none = browser.open(f"{TOKENS}?q=bob").text

    assert 'role="search"' not in without_search
    assert (first.count("<tr"), last.count("<tr"), found.count("<tr")) == (21, 3, 2)
    assert "Page 1 of 3, 42 in all" in first
    assert "No token matches." in none
    assert "n-of-bob" not in first + last + found + none
    assert len(few) == 2


def test_the_last_use_shows_a_network_and_a_client_and_no_whole_address(browser: Browser) -> None:
    token, service = made(browser), service_of(browser)
    service.usage.see(token.token.id, None, address="192.0.2.77", agent="curl/8.5 (secret)")
    service.usage.flush()

    text = browser.open(TOKENS).text

    assert "from 192.0.2.0/24 (IPv4)" in text
    assert "by curl" in text
    assert "192.0.2.77" not in text
    assert "secret" not in text


def test_too_many_tokens_are_told(browser: Browser) -> None:
    for name in "abc":
        made(browser, name=name)

    answer = create(browser, name="d")

    assert answer.status_code == 422
    assert '<p role="alert">' in answer.text


def test_a_form_that_is_too_large_is_refused(browser: Browser) -> None:
    assert create(browser, scopes="x" * 20000).status_code == 413
    assert service_of(browser).list("alice") == ()


@pytest.mark.parametrize(
    ("day", "state", "words"),
    [
        (0, "ok", "ok"),
        (86, "soon", "4 days left"),
        (89, "soon", "1 day left"),
        (90, "soon", "ends today"),
        (91, "expired", "expired"),
    ],
)
def test_a_tokens_end_has_words(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, day: int, state: str, words: str
) -> None:
    made(browser)
    ahead_s = day * 86400
    now = service_of(browser).now
    monkeypatch.setattr(service_of(browser), "now", lambda: now() + ahead_s)

    text = browser.open(TOKENS).text

    assert f'<span class="state {state}">{words}</span>' in text
    assert ("ends within 14 days" in text) is (state == "soon")


def test_where_tokens_are_switched_off_they_can_only_be_listed_and_revoked(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = made(browser)
    form = refresh_form(browser, token)
    service = service_of(browser)
    monkeypatch.setattr(service, "rules", service.rules.model_copy(update={"enabled": False}))

    listed = browser.open(TOKENS)
    form_token = browser.token(f"{TOKENS}/revoke?id={token.token.id}")
    refused = [
        browser.open(TOKENS, {"token": form_token, "name": "b", "limit": "all", "until": day(3)}),
        browser.open(f"{TOKENS}/refresh", {**form, "token": form_token}),
    ]
    revoked = browser.open(f"{TOKENS}/revoke", {"token": form_token, "id": token.token.id})

    assert "switched off" in listed.text
    assert "Create token" not in listed.text
    assert "/refresh" not in listed.text
    assert [answer.status_code for answer in refused] == [403, 403]
    assert revoked.status_code == 303
    assert service.list("alice") == ()


def test_a_user_who_was_removed_has_no_pages_of_tokens(
    browser: Browser, users: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(htpasswd, "CHECK_INTERVAL_S", 0)
    token = made(browser)
    form_token = browser.token(TOKENS)
    users.write_text(f"bob:{HASH}\n")

    answers = [
        browser.open(TOKENS),
        browser.open(TOKENS, {"token": form_token, "name": "b", "limit": "all", "until": day(3)}),
        browser.open(f"{TOKENS}/revoke", {"token": form_token, "id": token.token.id}),
    ]

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert len(service_of(browser).list("alice")) == 1


def test_without_personal_tokens_there_is_no_page_of_them(content: dict[str, Any]) -> None:
    content["auth_backends"] = ["session", "basic_auth"]
    browser = Browser(create_flask_app(parse_settings(content, origin="test")))
    browser.log_in()

    page = browser.open(SESSIONS)

    assert browser.open(TOKENS).status_code == 404
    assert TOKENS not in page.text
    assert page.status_code == 200
    browser.close()


async def test_the_gate_serves_the_pages(settings: Settings) -> None:
    gateway = Gateway(settings)

    for path in (*ACTIONS, "/compat-auth/copy.js"):
        answer = await call(gateway, http_scope(path.encode()))
        assert answer.status == (200 if path.endswith(".js") else 303)
    assert (await call(gateway, http_scope(TOKENS.encode(), method="POST"), body=b"x" * 20000)).status == 413


def other_session(browser: Browser, username: str = "alice") -> Browser:
    other = Browser(browser.app)
    other.log_in(username)
    return other


def digest(browser: Browser) -> str:
    session = browser.session()
    assert session is not None
    return digest_of(session.id).hex()


def test_ones_sessions_are_listed_and_this_one_is_marked(browser: Browser) -> None:
    mine, his = digest(other_session(browser)), digest(other_session(browser, "bob"))

    text = browser.open(SESSIONS).text

    assert text.count("this browser") == 1
    assert f'value="{digest(browser)}"' in text
    assert f'value="{mine}"' in text
    assert his not in text


def test_another_session_of_ones_own_is_ended_at_once(browser: Browser) -> None:
    other = other_session(browser)
    assert other.open(SESSIONS).status_code == 200

    answer = browser.open(SESSIONS, {"token": browser.token(SESSIONS), "id": digest(other)})

    assert (answer.status_code, answer.headers["Location"]) == (303, f"{SESSIONS}?done=ended")
    assert other.open(SESSIONS).status_code == 303
    assert browser.open(SESSIONS).status_code == 200
    assert "has ended" in browser.open(answer.headers["Location"]).text


def test_the_session_at_hand_is_ended_by_a_logout(browser: Browser) -> None:
    row = re.search(rf'<form[^>]*>\s*<input[^>]*>\s*<input[^>]*value="{digest(browser)}"', browser.open(SESSIONS).text)

    assert row
    assert 'action="/compat-auth/logout"' in row[0]


def test_what_was_made_from_an_ended_session_is_taken_back(browser: Browser) -> None:
    ended: list[str] = []
    set_upstream_tokens(browser.app, Recorder(ended))
    other, his = other_session(browser), other_session(browser, "bob")
    expected = f"session:{digest(other)}"

    for session in (his, other):
        browser.open(SESSIONS, {"token": browser.token(SESSIONS), "id": digest(session)})

    assert ended == [expected]


class Recorder:
    def __init__(self, ended: list[str]) -> None:
        self._ended = ended

    def revoke_session(self, *, tokens: Iterable[str], credential_id: str) -> None:
        assert list(tokens) == []
        self._ended.append(credential_id)

    def revoke_all(self, identity: Identity) -> None:
        pytest.fail("only one session ends")


@pytest.mark.parametrize("wanted", ["", "zz", "00" * 32, "00" * 5000])
def test_an_unknown_session_is_404(browser: Browser, wanted: str) -> None:
    assert browser.open(SESSIONS, {"token": browser.token(SESSIONS), "id": wanted}).status_code == 404


def test_anothers_session_cannot_be_ended(browser: Browser) -> None:
    his = other_session(browser, "bob")

    answer = browser.open(SESSIONS, {"token": browser.token(SESSIONS), "id": digest(his)})

    assert answer.status_code == 404
    assert his.open(SESSIONS).status_code == 200


def test_the_page_logs_out_everywhere(browser: Browser) -> None:
    other = other_session(browser)
    assert 'action="/compat-auth/logout"' in browser.open(SESSIONS).text

    browser.open("/compat-auth/logout", {"token": browser.token(SESSIONS), "everywhere": "1"})

    assert browser.open(SESSIONS).status_code == other.open(SESSIONS).status_code == 303


def test_a_session_that_has_ended_by_itself_is_not_listed(browser: Browser) -> None:
    other = other_session(browser)
    session = other.session()
    assert session is not None
    rows = browser.sessions._rows

    now = session.created

    assert digest_of(session.id) in rows.list_live("alice", seen_after=now - 1, begun_after=now - 1)
    assert rows.list_live("alice", seen_after=now + 60, begun_after=now - 1) == {}
    assert rows.list_live("alice", seen_after=now - 1, begun_after=now + 60) == {}

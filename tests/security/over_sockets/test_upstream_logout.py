"""The upstream's own logout ends our session, too, and only where a page of ours or a person asks for it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from compat_auth.app import Gateway
from compat_auth.authn.session_registry import live_sessions_of
from compat_auth.errors import BackendUnavailable
from compat_auth.http.asgi import RawHeaders
from support.security.page_browser import Browser, opened_pages, settings_with_pages
from support.security.upstream import Recorder
from support.stand_ins import Sent

DAGS = "/api/v2/dags"
COOKIE = "compat_auth_session"
LOGOUTS = ("/api/v2/auth/logout", "/auth/logout", "/auth/logout/", "/logout", "/logout/")
OWN: RawHeaders = [(b"sec-fetch-site", b"same-origin")]
# What a browser says on plain HTTP, where it knows no Sec-Fetch-Site.
OWN_BY_REFERRER: RawHeaders = [(b"referer", b"http://gateway.example/dags")]


@pytest.fixture
async def gateway(tmp_path: Path, upstream: Recorder) -> AsyncIterator[Gateway]:
    async with opened_pages(settings_with_pages(tmp_path, upstream.port)) as gateway:
        yield gateway


async def logged_in(gateway: Gateway) -> Browser:
    browser = Browser(gateway)
    await browser.log_in()
    return browser


async def copies_work(gateway: Gateway, copies: dict[str, str]) -> dict[str, bool]:
    """Return which of the cookies still lets somebody in, each alone."""
    return {name: (await Browser(gateway, {name: value}).ask(DAGS)).status == 200 for name, value in copies.items()}


def cleared(sent: Sent) -> set[str]:
    values = [value.decode() for value in sent.values(b"set-cookie")]
    return {value.partition("=")[0] for value in values if "Max-Age=0" in value}


@pytest.mark.parametrize("path", LOGOUTS)
@pytest.mark.parametrize("form", [None, {}], ids=["GET", "POST"])
@pytest.mark.parametrize("left", [(COOKIE, "_token"), (COOKIE,), ("_token",)], ids=["both", "ours", "the upstreams"])
async def test_after_the_upstreams_logout_no_cookie_of_before_lets_anybody_in(
    gateway: Gateway, upstream: Recorder, path: str, form: dict[str, str] | None, left: tuple[str, ...]
) -> None:
    browser = await logged_in(gateway)
    browser.cookies = copies = {name: browser.cookies[name] for name in left}
    before = await copies_work(gateway, copies)
    copies = dict(copies)
    upstream.take()

    sent = await browser.ask(path, form)

    assert before == dict.fromkeys(left, True)
    assert await copies_work(gateway, copies) == dict.fromkeys(left, False)
    assert cleared(sent) >= {COOKIE, "_token"}
    assert path.encode() in [arrived.target for arrived in upstream.take()]
    assert browser.cookies == {}


@pytest.mark.parametrize("headers", [OWN, OWN_BY_REFERRER, [(b"sec-fetch-site", b"none")], []])
async def test_a_page_of_ours_and_a_person_can_log_out(gateway: Gateway, headers: RawHeaders) -> None:
    browser = await logged_in(gateway)
    copies = dict(browser.cookies)

    await browser.ask(LOGOUTS[0], None, headers)

    assert await copies_work(gateway, copies) == {COOKIE: False, "_token": False}


@pytest.mark.parametrize(
    "headers",
    [
        [(b"sec-fetch-site", b"cross-site")],
        [(b"sec-fetch-site", b"same-site")],
        [(b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site")],
        [(b"referer", b"https://evil.example/gateway")],
        [(b"origin", b"https://evil.example")],
        [(b"origin", b"null")],
        [(b"referer", b"http://[")],
    ],
)
@pytest.mark.parametrize("path", LOGOUTS)
async def test_another_site_cannot_end_a_session_and_the_upstream_judges_its_request(
    gateway: Gateway, upstream: Recorder, path: str, headers: RawHeaders
) -> None:
    browser = await logged_in(gateway)
    upstream.take()

    sent = await browser.ask(path, None, headers)

    assert COOKIE not in cleared(sent)
    assert (await copies_work(gateway, {COOKIE: browser.cookies[COOKIE]})) == {COOKIE: True}
    assert path.encode() in [arrived.target for arrived in upstream.take()]


@pytest.mark.parametrize("path", ["/dags/logout", "/api/v2/auth/logouts", "/x/api/v2/auth/logout", "/auth/logout/x"])
async def test_another_path_ends_nothing(gateway: Gateway, path: str) -> None:
    browser = await logged_in(gateway)

    await browser.ask(path)

    assert await copies_work(gateway, browser.cookies) == {COOKIE: True, "_token": True}


async def test_who_is_not_logged_in_may_log_out_and_is_asked_for_nothing(gateway: Gateway, upstream: Recorder) -> None:
    sent = await Browser(gateway).ask(LOGOUTS[0])

    assert sent.status == 200
    assert sent.values(b"set-cookie") == []
    assert [arrived.target for arrived in upstream.take()] == [LOGOUTS[0].encode()]


async def test_of_two_sessions_in_one_request_both_end(gateway: Gateway) -> None:
    one, other = await logged_in(gateway), await logged_in(gateway)
    both = f"{COOKIE}={one.cookies[COOKIE]}; {COOKIE}={other.cookies[COOKIE]}"

    await Browser(gateway).ask(LOGOUTS[0], None, [*OWN, (b"cookie", both.encode())])

    for browser in (one, other):
        assert await copies_work(gateway, {COOKIE: browser.cookies[COOKIE]}) == {COOKIE: False}


async def test_a_password_beside_the_cookie_does_not_save_the_session(gateway: Gateway) -> None:
    browser = await logged_in(gateway)
    copies = dict(browser.cookies)

    await browser.ask(LOGOUTS[0], None, [*OWN, (b"authorization", b"Basic YWxpY2U6d29uZGVy")])

    assert await copies_work(gateway, copies) == {COOKIE: False, "_token": False}


async def test_another_browser_of_the_same_user_stays_logged_in(gateway: Gateway) -> None:
    browser, other = await logged_in(gateway), await logged_in(gateway)

    await browser.ask(LOGOUTS[0])

    assert await copies_work(gateway, other.cookies) == {COOKIE: True, "_token": True}


async def test_a_logout_that_cannot_be_written_down_is_no_logout(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = await logged_in(gateway)
    live = live_sessions_of(gateway._core.decider.app)
    assert live is not None

    def fail(*_: object) -> None:
        raise BackendUnavailable("store: away")

    monkeypatch.setattr(live._rows, "end", fail)

    sent = await browser.ask(LOGOUTS[0])

    assert sent.status == 503
    assert COOKIE in browser.cookies


async def test_a_logout_is_in_the_audit_log(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    browser = await logged_in(gateway)

    with caplog.at_level(logging.INFO):
        await browser.ask(LOGOUTS[0])

    assert any("logout" in record.getMessage() and "alice" in record.getMessage() for record in caplog.records)


async def test_an_upstream_of_another_kind_names_its_own_logout(tmp_path: Path, upstream: Recorder) -> None:
    settings = settings_with_pages(
        tmp_path, upstream.port, upstream={"profile": "generic", "logout_paths": ["/bye"], "roles": {}}
    )
    async with opened_pages(settings) as gateway:
        browser = await logged_in(gateway)
        copy = {COOKIE: browser.cookies[COOKIE]}

        await browser.ask("/logout")
        before = await copies_work(gateway, copy)
        await browser.ask("/bye")

        assert (before, await copies_work(gateway, copy)) == ({COOKIE: True}, {COOKIE: False})


async def test_with_forward_auth_the_logout_that_the_proxy_asks_about_ends_the_session(
    tmp_path: Path, upstream: Recorder
) -> None:
    settings = settings_with_pages(
        tmp_path, upstream.port, trusted_proxies=["192.0.2.1/32"], forward_auth={"secret": "f" * 32}
    )
    async with opened_pages(settings) as gateway:
        browser = await logged_in(gateway)
        copy = {COOKIE: browser.cookies[COOKIE]}
        told = [
            (b"x-compat-auth-proxy-secret", b"f" * 32),
            (b"x-original-uri", LOGOUTS[0].encode()),
            (b"x-original-method", b"GET"),
        ]
        foreign = await browser.ask(
            "/compat-auth/forward-auth/nginx", None, [*told, (b"sec-fetch-site", b"cross-site")]
        )
        before = await copies_work(gateway, copy)

        sent = await browser.ask("/compat-auth/forward-auth/nginx", None, [*told, *OWN])

        assert (foreign.status, sent.status) == (200, 200)
        assert (before, await copies_work(gateway, copy)) == ({COOKIE: True}, {COOKIE: False})
        assert cleared(sent) >= {COOKIE, "_token"}

"""A logout takes back what the login left in other hands, and nothing of anybody else's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from compat_auth.app import Gateway
from support.security.page_browser import Browser, opened_pages, settings_with_pages
from support.security.upstream import Recorder
from support.stand_ins import basic, call, http_scope

PATH = "/api/v2/dags"


@pytest.fixture
async def gateway(tmp_path: Path, upstream: Recorder) -> AsyncIterator[Gateway]:
    async with opened_pages(settings_with_pages(tmp_path, upstream.port)) as gateway:
        yield gateway


async def status(gateway: Gateway, authorization: str) -> int:
    return (await call(gateway, http_scope(PATH.encode(), [(b"authorization", authorization.encode())]))).status


async def test_the_upstreams_cookie_is_worth_nothing_after_the_logout(gateway: Gateway) -> None:
    browser = Browser(gateway)
    await browser.log_in()
    stolen = browser.cookies["_token"]
    before = await Browser(gateway).ask(PATH, _token=stolen)

    await browser.submit("/compat-auth/logout")

    after = await Browser(gateway).ask(PATH, _token=stolen)
    assert (before.status, after.status) == (200, 401)


async def test_a_token_made_from_the_session_ends_with_it_and_another_does_not(gateway: Gateway) -> None:
    browser, other = Browser(gateway), Browser(gateway)
    await browser.log_in()
    await other.log_in()
    mine, theirs = await browser.token(), await other.token()
    before = [await status(gateway, f"Bearer {token}") for token in (mine, theirs)]

    await browser.submit("/compat-auth/logout")

    assert before == [200, 200]
    assert [await status(gateway, f"Bearer {token}") for token in (mine, theirs)] == [401, 200]
    assert (await other.ask(PATH)).status == 200


async def test_logging_out_everywhere_takes_back_all_that_the_user_has(gateway: Gateway) -> None:
    alice, elsewhere, bob = Browser(gateway), Browser(gateway), Browser(gateway)
    for browser, name in ((alice, "alice"), (elsewhere, "alice"), (bob, "bob")):
        await browser.log_in(name)
    tokens = [await browser.token() for browser in (alice, elsewhere, bob)]

    await alice.submit("/compat-auth/logout", everywhere="1")

    assert [await status(gateway, f"Bearer {token}") for token in tokens] == [401, 401, 200]
    assert (await elsewhere.ask(PATH)).status == 401
    assert (await bob.ask(PATH)).status == 200
    assert await status(gateway, basic("alice", "wonder")) == 200


async def test_who_logs_in_right_after_logging_out_everywhere_is_let_in(gateway: Gateway) -> None:
    browser = Browser(gateway)
    await browser.log_in()
    await browser.submit("/compat-auth/logout", everywhere="1")

    await browser.log_in()
    token = await browser.token()

    assert await status(gateway, f"Bearer {token}") == 200
    assert (await Browser(gateway).ask(PATH, _token=browser.cookies["_token"])).status == 200


async def test_the_upstream_is_told_at_its_own_logout(gateway: Gateway, upstream: Recorder) -> None:
    browser = Browser(gateway)
    await browser.log_in()
    token, cookie = await browser.token(), browser.cookies["_token"]
    upstream.take()

    await browser.submit("/compat-auth/logout")

    told = [arrived for arrived in upstream.take() if arrived.target == b"/api/v2/auth/logout"]
    assert told[0].values(b"authorization") == [f"Bearer {cookie}".encode()]
    assert len(told) == 2
    assert token not in repr(told)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([(b"origin", b"http://evil.example")], id="another-origin"),
        pytest.param([(b"origin", b"null")], id="no-origin-of-its-own"),
        pytest.param([(b"sec-fetch-site", b"cross-site")], id="another-site"),
        pytest.param([], id="a-client-that-says-nothing"),
        pytest.param([(b"x-csrf-token", b"guess")], id="a-guessed-token"),
    ],
)
async def test_another_site_gets_no_token_out_of_a_session(
    gateway: Gateway, headers: list[tuple[bytes, bytes]]
) -> None:
    browser = Browser(gateway)
    await browser.log_in()
    jar = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())

    sent = await call(gateway, http_scope(b"/auth/token", [(b"cookie", jar.encode()), *headers], method="POST"))

    assert sent.status == 403
    assert b"access_token" not in sent.body


async def test_a_sessions_own_token_is_enough_where_nothing_says_where_a_request_comes_from(gateway: Gateway) -> None:
    browser = Browser(gateway)
    await browser.log_in()
    jar = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    shown = json.loads((await browser.ask("/compat-auth/session")).body)
    headers = [(b"cookie", jar.encode()), (b"x-csrf-token", shown["csrf_token"].encode())]

    sent = await call(gateway, http_scope(b"/auth/token", headers, method="POST"))

    assert sent.status == 201

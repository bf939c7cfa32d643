"""Browsers are led to our login page and kept logged in at the upstream's; scripts and programs get their 401."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from compat_auth.app import Gateway
from compat_auth.errors import ConfigError
from compat_auth.http.asgi import RawHeaders
from support.security.page_browser import Browser, opened_pages, settings_with_pages
from support.security.upstream import Arrived, Recorder
from support.stand_ins import Sent, call, http_scope

COOKIE = "compat_auth_session"
DAGS = "/api/v2/dags"
NAVIGATE: RawHeaders = [(b"sec-fetch-mode", b"navigate"), (b"sec-fetch-site", b"none"), (b"accept", b"text/html,*/*")]
PLAIN_HTTP: RawHeaders = [(b"accept", b"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")]
SCRIPT: RawHeaders = [(b"sec-fetch-mode", b"cors"), (b"sec-fetch-site", b"same-origin"), (b"accept", b"*/*")]
LOGINS = ("/api/v2/auth/login", "/auth/login", "/auth/login/", "/login", "/login/")


@contextlib.asynccontextmanager
async def gateway_of(folder: Path, upstream: Recorder, **more: Any) -> AsyncGenerator[Gateway]:
    async with opened_pages(settings_with_pages(folder, upstream.port, **more)) as gateway:
        yield gateway


async def ask(gateway: Gateway, path: str, headers: RawHeaders, *, query: str = "", method: str = "GET") -> Sent:
    return await call(gateway, http_scope(path.encode(), headers, query=query.encode(), method=method))


def led_to(sent: Sent) -> str:
    """Return where the login page leads to which an answer sends the browser."""
    (location,) = [value.decode() for value in sent.values(b"location")]
    parts = urlsplit(location)
    assert (parts.scheme, parts.netloc, parts.path) == ("", "", "/compat-auth/login")
    return parse_qs(parts.query)["next"][0]


def ended(token: str) -> str:
    """Return a token that was good until a moment ago, whoever has signed it."""
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode({**claims, "exp": claims["iat"] - 5}, "k" * 64, algorithm="HS512")


def cookies_at(arrived: Arrived) -> str:
    return b"; ".join(arrived.values(b"cookie")).decode()


@pytest.mark.parametrize("login", ["", "ours"])
@pytest.mark.parametrize("headers", [NAVIGATE, PLAIN_HTTP], ids=["https", "http"])
async def test_a_browser_that_asks_for_a_guarded_page_is_led_to_the_login_and_back(
    tmp_path: Path, upstream: Recorder, login: str, headers: RawHeaders
) -> None:
    async with gateway_of(tmp_path, upstream, session={"login": login}) as gateway:
        sent = await ask(gateway, DAGS, headers, query="limit=1&x=%2F")

        browser = Browser(gateway)
        page = await browser.ask(sent.values(b"location")[0].decode().partition("?")[0])

    assert (sent.status, led_to(sent)) == (302, f"{DAGS}?limit=1&x=%2F")
    assert page.status == 200
    assert sent.values(b"www-authenticate") == []
    assert sent.values(b"cache-control") == [b"no-store"]


@pytest.mark.parametrize("login", ["", "ours", "upstream"])
@pytest.mark.parametrize(
    ("headers", "method"),
    [
        (SCRIPT, "GET"),
        ([(b"accept", b"*/*")], "GET"),
        ([], "GET"),
        ([(b"accept", b"application/json")], "GET"),
        (NAVIGATE, "POST"),
        ([*NAVIGATE, (b"authorization", b"Basic YWxpY2U6d3Jvbmc=")], "GET"),
    ],
)
async def test_a_script_and_a_program_get_their_401(
    tmp_path: Path, upstream: Recorder, login: str, headers: RawHeaders, method: str
) -> None:
    async with gateway_of(tmp_path, upstream, session={"login": login}) as gateway:
        sent = await ask(gateway, DAGS, headers, method=method)

    assert (sent.status, sent.values(b"location")) == (401, [])


@pytest.mark.parametrize(
    "more", [{"session": {"login": "upstream"}}, {"mode": "airflow2"}, {"session": {"secret": ""}}]
)
async def test_where_it_is_not_wanted_nobody_is_led_to_our_login(
    tmp_path: Path, upstream: Recorder, more: dict[str, Any]
) -> None:
    if "session" in more and "secret" in more["session"]:
        more = {**more, "auth_backends": ["basic_auth"]}
    async with gateway_of(tmp_path, upstream, **more) as gateway:
        refused = await ask(gateway, DAGS, NAVIGATE)
        upstreams = await ask(gateway, LOGINS[0], NAVIGATE)

    assert refused.status == 401
    assert upstreams.status == 200


@pytest.mark.parametrize("path", LOGINS)
@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("", "/"),
        ("next=%2Fdags%3Fx%3D1", "/dags?x=1"),
        ("next=http%3A%2F%2Fgateway.example%2Fdags", "/dags"),
        ("next=https%3A%2F%2Fevil.example%2Fdags", "/"),
        ("next=%2F%2Fevil.example", "/"),
        ("next=%2F%5Cevil.example", "/"),
        ("next=javascript%3Aalert(1)", "/"),
        ("next=http%3A%2F%2F%5B", "/"),
        ("next=%2F%C3%A4%FF", "/"),
        ("next=http%3A%2F%2Fgateway.example%40evil.example%2F", "/"),
        ("next=http%3A%2F%2Fgateway.example%2F%2Fevil.example", "/"),
        ("next=%2Fdags%2Ftiny%3Ftab%3Dx%2312", "/dags/tiny?tab=x#12"),
        ("next=http%3A%2F%2Fgateway.example%2Fdags%2312", "/dags#12"),
        ("next=%2Fdags%3Fstate%3D%5B%22a%7Cb%22%5D", "/dags?state=%5B%22a%7Cb%22%5D"),
        ("next=%2Fdags%2F%C3%A4", "/dags/%C3%A4"),
        ("next=%2Fdags%23%0D%0AX%3A1", "/dags#%0D%0AX:1"),
        ("next=%2F%2Fevil.example%23%2Fdags", "/"),
        ("next=%2F%7C%5C%2Fevil.example", "/"),
    ],
)
async def test_with_ours_the_upstreams_login_is_our_login_and_leads_nowhere_else(
    tmp_path: Path, upstream: Recorder, path: str, wanted: str, target: str
) -> None:
    async with gateway_of(tmp_path, upstream, session={"login": "ours"}) as gateway:
        sent = await ask(gateway, path, NAVIGATE, query=wanted)

    assert (sent.status, led_to(sent)) == (302, target)
    assert upstream.take() == []


async def test_by_default_the_upstreams_login_is_its_own(tmp_path: Path, upstream: Recorder) -> None:
    async with gateway_of(tmp_path, upstream) as gateway:
        statuses = [(await ask(gateway, path, NAVIGATE)).status for path in LOGINS]

    assert statuses == [200] * len(LOGINS)


@pytest.mark.parametrize("path", ["/ui/dags", "/dags", DAGS])
@pytest.mark.parametrize("token", ["missing", "ended"])
@pytest.mark.parametrize("headers", [NAVIGATE, SCRIPT], ids=["page", "script"])
async def test_a_session_gets_a_new_cookie_of_the_upstreams_with_whatever_it_asks_for(
    tmp_path: Path, upstream: Recorder, path: str, token: str, headers: RawHeaders
) -> None:
    async with gateway_of(tmp_path, upstream, session={"login": "ours"}) as gateway:
        browser = Browser(gateway)
        await browser.log_in()
        old = browser.cookies.pop("_token")
        if token == "ended":
            browser.cookies["_token"] = ended(old)
        upstream.take()

        sent = await browser.ask(path, None, headers)

        new = browser.cookies["_token"]
        after = await Browser(gateway, {"_token": new}).ask(DAGS)
    (arrived, *_) = upstream.take()
    assert (sent.status, after.status) == (200, 200)
    assert new not in (old, ended(old))
    assert jwt.decode(new, options={"verify_signature": False})["sub"] == "alice"
    assert COOKIE not in cookies_at(arrived)
    assert f"_token={new}" in cookies_at(arrived) or arrived.values(b"authorization") != []


async def test_a_cookie_that_lives_is_left_alone(tmp_path: Path, upstream: Recorder) -> None:
    async with gateway_of(tmp_path, upstream, session={"login": "ours"}) as gateway:
        browser = Browser(gateway)
        await browser.log_in()
        old = browser.cookies["_token"]

        sent = await browser.ask("/ui/dags")

    assert browser.cookies["_token"] == old
    assert sent.values(b"set-cookie") == []


async def test_by_default_no_cookie_is_renewed(tmp_path: Path, upstream: Recorder) -> None:
    async with gateway_of(tmp_path, upstream) as gateway:
        browser = Browser(gateway)
        await browser.log_in()
        del browser.cookies["_token"]

        await browser.ask("/ui/dags")

    assert "_token" not in browser.cookies


async def test_requests_at_once_get_one_token(tmp_path: Path, upstream: Recorder) -> None:
    async with gateway_of(tmp_path, upstream, session={"login": "ours"}) as gateway:
        browser = Browser(gateway)
        await browser.log_in()
        del browser.cookies["_token"]
        alone = dict(browser.cookies)

        sents = await asyncio.gather(*(Browser(gateway, dict(alone)).ask(f"/ui/{number}") for number in range(8)))

    tokens = {re.findall(rb"_token=([^;]+)", b" ".join(sent.values(b"set-cookie")))[0] for sent in sents}
    assert len(tokens) == 1


@pytest.mark.parametrize("headers", [[(b"sec-fetch-site", b"cross-site")], [(b"origin", b"https://evil.example")]])
async def test_another_sites_form_gets_no_cookie_of_the_upstreams(
    tmp_path: Path, upstream: Recorder, headers: RawHeaders
) -> None:
    async with gateway_of(tmp_path, upstream, session={"login": "ours"}) as gateway:
        browser = Browser(gateway)
        await browser.log_in()
        del browser.cookies["_token"]
        upstream.take()

        await browser.ask("/ui/dags", {}, headers)

    assert "_token" not in browser.cookies
    assert ["_token" in cookies_at(arrived) for arrived in upstream.take()] == [False]


async def test_after_a_logout_no_session_gets_a_cookie(tmp_path: Path, upstream: Recorder) -> None:
    async with gateway_of(tmp_path, upstream, session={"login": "ours"}) as gateway:
        browser = Browser(gateway)
        await browser.log_in()
        copies = {COOKIE: browser.cookies[COOKIE]}
        await Browser(gateway, dict(copies)).ask("/ui/dags")
        await browser.ask("/api/v2/auth/logout")

        thief = Browser(gateway, dict(copies))
        await thief.ask("/ui/dags")

    assert "_token" not in thief.cookies


async def test_a_session_is_sent_back_from_the_upstreams_login_with_a_new_cookie(
    tmp_path: Path, upstream: Recorder
) -> None:
    async with gateway_of(tmp_path, upstream, session={"login": "ours"}) as gateway:
        browser = Browser(gateway)
        await browser.log_in()
        del browser.cookies["_token"]

        sent = await call(
            gateway,
            http_scope(
                b"/api/v2/auth/login",
                [*NAVIGATE, (b"cookie", f"{COOKIE}={browser.cookies[COOKIE]}".encode())],
                query=b"next=%2Fdags",
            ),
        )

    assert (sent.status, sent.values(b"location")) == (302, [b"/dags"])
    assert any(value.startswith(b"_token=") for value in sent.values(b"set-cookie"))


@pytest.mark.parametrize("path", [path for path in LOGINS if path != "/api/v2/auth/login"])
async def test_who_is_logged_in_gets_the_form_of_pages_that_know_no_login_but_their_own(
    tmp_path: Path, upstream: Recorder, path: str
) -> None:
    async with gateway_of(tmp_path, upstream, session={"login": "ours"}) as gateway:
        browser = Browser(gateway)
        await browser.log_in()
        upstream.take()

        sent = await browser.ask(path, None, NAVIGATE)

    (arrived,) = upstream.take()
    assert (sent.status, arrived.target) == (200, path.encode())


@pytest.mark.parametrize("path", LOGINS)
@pytest.mark.parametrize("kept", ["_token", COOKIE])
async def test_one_cookie_alone_does_not_lead_to_the_upstreams_form(
    tmp_path: Path, upstream: Recorder, path: str, kept: str
) -> None:
    async with gateway_of(tmp_path, upstream, session={"login": "ours"}) as gateway:
        browser = Browser(gateway)
        await browser.log_in()
        alone = Browser(gateway, {kept: browser.cookies[kept]})
        upstream.take()

        sent = await alone.ask(path, None, NAVIGATE)

    assert sent.status == 302
    assert upstream.take() == []


async def test_a_session_whose_cookie_the_upstream_refuses_is_shown_the_login_and_not_sent_in_circles(
    tmp_path: Path, upstream: Recorder
) -> None:
    async with gateway_of(tmp_path, upstream, session={"login": "ours"}) as gateway:
        browser = Browser(gateway)
        await browser.log_in()

        sent = await browser.ask(LOGINS[0], None, NAVIGATE)

    assert (sent.status, led_to(sent)) == (302, "/")


async def test_a_session_that_the_directory_no_longer_knows_gets_no_cookie(tmp_path: Path, upstream: Recorder) -> None:
    settings = settings_with_pages(tmp_path, upstream.port, session={"login": "ours"})
    async with opened_pages(settings) as gateway:
        browser = Browser(gateway)
        await browser.log_in()
        del browser.cookies["_token"]
    settings = settings_with_pages(tmp_path, upstream.port, session={"login": "ours"})
    users = tmp_path / "htpasswd"
    users.write_text("".join(line for line in users.read_text().splitlines(keepends=True) if "alice" not in line))

    async with opened_pages(settings) as gateway:
        browser.gateway = gateway
        await browser.ask("/ui/dags")

    assert "_token" not in browser.cookies


def test_our_login_needs_a_secret(tmp_path: Path) -> None:
    settings = settings_with_pages(tmp_path, 1, session={"secret": "", "login": "ours"}, auth_backends=["basic_auth"])

    with pytest.raises(ConfigError, match=r"session\.login.*session\.secret"):
        Gateway(settings)

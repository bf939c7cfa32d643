"""A logout takes back what the login left in other hands, and nothing of anybody else's."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import bcrypt
import pytest

from compat_auth.app import Gateway
from compat_auth.config import parse_settings
from security.upstream import Recorder
from stand_ins import Sent, basic, call, http_scope

HASH = bcrypt.hashpw(b"wonder", bcrypt.gensalt(4)).decode()
PATH = "/api/v2/dags"


@pytest.fixture
async def gateway(tmp_path: Path, upstream: Recorder) -> AsyncIterator[Gateway]:
    (tmp_path / "htpasswd").write_text(f"alice:{HASH}\nbob:{HASH}\n")
    (tmp_path / "htpasswd").chmod(0o600)
    content: dict[str, Any] = {
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(tmp_path / "htpasswd")},
        "session": {"secret": "s" * 32},
        "upstream": {
            "url": f"http://127.0.0.1:{upstream.port}",
            "profile": "airflow-simple",
            "roles": {"*": "VIEWER"},
        },
        "token": {"strategy": "shared_secret", "secret": "t" * 64},
    }
    gateway = Gateway(parse_settings(content, origin="test"))
    await gateway._proxy.open()
    yield gateway
    gateway._decider.close()
    await gateway._proxy.close()


@dataclass
class Browser:
    """Keeps cookies, and says that its requests come from our own pages."""

    gateway: Gateway
    cookies: dict[str, str] = field(default_factory=dict[str, str])

    async def ask(self, path: str, form: dict[str, str] | None = None, **cookies: str) -> Sent:
        jar = {**self.cookies, **cookies}
        headers = [(b"sec-fetch-site", b"same-origin")]
        if jar:
            headers.append((b"cookie", "; ".join(f"{name}={value}" for name, value in jar.items()).encode()))
        if form is not None:
            headers.append((b"content-type", b"application/x-www-form-urlencoded"))
        method = "GET" if form is None else "POST"
        sent = await call(
            self.gateway, http_scope(path.encode(), headers, method=method), urlencode(form or {}).encode()
        )
        for value in sent.values(b"set-cookie"):
            name, _, content = value.decode().partition(";")[0].partition("=")
            if content:
                self.cookies[name] = content
            else:
                self.cookies.pop(name, None)
        return sent

    async def submit(self, path: str, **fields: str) -> Sent:
        (token,) = re.findall(rb'name="token" value="([^"]*)"', (await self.ask(path)).body)
        return await self.ask(path, {"token": token.decode(), **fields})

    async def log_in(self, username: str = "alice") -> None:
        sent = await self.submit("/compat-auth/login", username=username, password="wonder")
        assert sent.status == 303, sent.body

    async def token(self) -> str:
        sent = await self.ask("/auth/token", {})
        assert sent.status == 201, sent.body
        return str(json.loads(sent.body)["access_token"])


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

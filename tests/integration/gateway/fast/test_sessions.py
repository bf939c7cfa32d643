"""A browser's session that was checked a moment ago takes the fast paths, with the same bytes for client and upstream."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from compat_auth.authn.session_registry import LiveSessions
from compat_auth.authn.session_sealing import Session
from compat_auth.config import load_settings
from compat_auth.identity import Identity
from support.fast_world import ELSEWHERE, SECRET, Answer, Gateway, World, get, say, worlds

SECRET_LINE = b"X-Compat-Auth-Proxy-Secret: " + SECRET
ABOUT = (b"X-Original-URI: /api/v2/x", b"X-Original-Method: GET")
BACKENDS = '["session", "basic_auth"]'
SESSIONS = f'{ELSEWHERE}\nsession = {{ secret = "{"s" * 40}" }}'
TRUSTING = SESSIONS.replace("10.9.0.0/16", "127.0.0.1/32")
_TOKEN = re.compile(rb"Bearer [A-Za-z0-9._-]+")


@dataclass
class SessionWorld:
    """Two gateways, and alice's session at each."""

    world: World
    cookies: dict[int, bytes] = field(default_factory=dict[int, bytes])
    started: list[tuple[LiveSessions, Session]] = field(default_factory=list["tuple[LiveSessions, Session]"])

    async def ask(self, gateway: Gateway, raw: bytes) -> Answer:
        return await gateway.ask(raw.replace(b"SESSION", self.cookies[gateway.port]))

    async def warm(self, raw: bytes) -> None:
        """Have both gateways check their session."""
        for gateway in (self.world.fast, self.world.ordinary):
            await self.ask(gateway, raw)
        self.world.upstream.take()
        self.world.fast.asked = self.world.ordinary.asked = 0

    async def compare(self, raw: bytes) -> tuple[Answer, list[bytes]]:
        """Return the answer to a request and what the upstream got, which are the same at both gateways."""
        found: list[tuple[Answer, list[bytes]]] = []
        for gateway in (self.world.fast, self.world.ordinary):
            answer = await self.ask(gateway, raw)
            arrived = [_TOKEN.sub(b"Bearer TOKEN", call.head) + call.body for call in self.world.upstream.take()]
            shown = [(name, _TOKEN.sub(b"Bearer TOKEN", value)) for name, value in answer.headers]
            found.append((Answer(answer.status, shown, answer.body), arrived))
        assert found[0] == found[1]
        return found[0]


def with_session(*lines: bytes, target: bytes = b"/api/v2/x", method: bytes = b"GET", more: bytes = b"") -> bytes:
    return get(target, *lines, method=method, authorization=b"Cookie: theme=dark; SESSION" + more)


async def session_world(folder: Path, extra: str) -> AsyncIterator[SessionWorld]:
    async with worlds(folder, extra, backends=BACKENDS) as world:
        found = SessionWorld(world)
        for name, gateway in (("fast", world.fast), ("ordinary", world.ordinary)):
            sessions = LiveSessions.from_settings(load_settings(str(folder / name / "compat_auth.toml"), {}))
            assert sessions is not None
            started = sessions.start(Identity("alice", "basic_auth", directory="htpasswd"))
            found.started.append((sessions, started))
            found.cookies[gateway.port] = sessions.cookie.header(started, secure=False).partition(";")[0].encode()
        yield found


@pytest.fixture
async def sessions(tmp_path: Path) -> AsyncIterator[SessionWorld]:
    async for one in session_world(tmp_path, SESSIONS):
        yield one


@pytest.fixture
async def trusting(tmp_path: Path) -> AsyncIterator[SessionWorld]:
    async for one in session_world(tmp_path, TRUSTING):
        yield one


FAST = {
    "get": with_session(),
    "head": with_session(method=b"HEAD"),
    "query": with_session(target=b"/api/v2/x?a=1"),
    "script-of-a-page": with_session(
        b"Accept: application/json", b"Sec-Fetch-Mode: cors", b"Sec-Fetch-Site: same-origin"
    ),
}


@pytest.mark.parametrize("raw", FAST.values(), ids=FAST)
async def test_a_checked_session_is_forwarded_without_the_application(sessions: SessionWorld, raw: bytes) -> None:
    await sessions.warm(with_session())

    answer, (arrived,) = await sessions.compare(raw)

    assert (answer.status, sessions.world.fast.asked) == (200, 0)
    assert b"\r\ncookie: theme=dark\r\n" in arrived.lower()
    assert b"authorization: Bearer TOKEN" in arrived


ORDINARY = {
    "post": with_session(b"Content-Length: 0", method=b"POST"),
    "post-of-another-site": with_session(b"Content-Length: 0", b"Origin: https://evil.example", method=b"POST"),
    "page": with_session(b"Accept: text/html"),
    "navigation": with_session(b"Sec-Fetch-Mode: navigate"),
    "another-cookie-first": with_session(more=b"; another=1"),
    "upstreams-cookie": with_session(more=b"; _token=evil"),
    "upstreams-cookie-hidden": with_session(more=b'; a="b _token=evil"'),
    "two-cookie-lines": with_session(b"Cookie: session=evil"),
    "empty-authorization": with_session(b"Authorization:"),
    "wrong-authorization": with_session(b"Authorization: Basic eDp5"),
    "no-credential": get(authorization=b"Cookie: theme=dark"),
    "forged": get(authorization=b"Cookie: theme=dark; compat_auth_session=forged"),
    "unprotected": with_session(target=b"/static/x"),
    "as-if-by-https": with_session(b"X-Forwarded-Proto: https"),
}


@pytest.mark.parametrize("raw", ORDINARY.values(), ids=ORDINARY)
async def test_everything_unusual_beside_a_session_is_answered_alike(sessions: SessionWorld, raw: bytes) -> None:
    await sessions.warm(with_session())

    await sessions.compare(raw)

    assert sessions.world.ordinary.asked == 1


async def test_a_session_of_http_is_not_that_of_https(trusting: SessionWorld) -> None:
    await trusting.warm(with_session())

    over_http, _ = await trusting.compare(with_session())
    over_https, _ = await trusting.compare(with_session(b"X-Forwarded-Proto: https"))

    assert (over_http.status, over_https.status, trusting.world.fast.asked) == (200, 401, 1)


async def test_a_front_proxy_gets_the_same_yes_about_a_session(trusting: SessionWorld) -> None:
    asked = with_session(SECRET_LINE, *ABOUT, target=b"/compat-auth/forward-auth/nginx")
    # The first answer writes the token down.
    await trusting.warm(asked)

    answer, arrived = await trusting.compare(asked)

    assert (answer.status, arrived, trusting.world.fast.asked) == (200, [], 0)
    assert dict(answer.headers)[b"x-compat-auth-cookie"] == b"theme=dark"


async def test_a_front_proxy_gets_the_same_yes_about_a_session_alone(trusting: SessionWorld) -> None:
    asked = get(b"/compat-auth/forward-auth/nginx", SECRET_LINE, *ABOUT, authorization=b"Cookie: SESSION")
    await trusting.warm(asked)

    answer, _ = await trusting.compare(asked)

    assert (dict(answer.headers)[b"x-compat-auth-cookie"], trusting.world.fast.asked) == (b"", 0)


async def test_a_session_that_another_process_has_ended_is_refused_within_a_second(sessions: SessionWorld) -> None:
    await sessions.warm(with_session())
    before, _ = await sessions.compare(with_session())

    for registry, started in sessions.started:
        registry.end(started)
    await asyncio.sleep(1.1)

    answer, arrived = await sessions.compare(with_session())
    assert (before.status, answer.status, arrived) == (200, 401, [])


async def test_a_refusal_of_the_upstream_is_answered_alike(sessions: SessionWorld) -> None:
    await sessions.warm(with_session())
    sessions.world.upstream.script = say(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    answers = [
        await sessions.ask(gateway, with_session()) for gateway in (sessions.world.fast, sessions.world.ordinary)
    ]

    assert answers[0] == answers[1]
    assert answers[0].status == 401


async def test_where_a_browser_gets_the_upstreams_cookie_with_any_answer_the_application_gives_it(
    tmp_path: Path,
) -> None:
    login = SESSIONS.replace("session = {", 'session = { login = "ours",')
    async for ours in session_world(tmp_path, login):
        await ours.warm(with_session())

        answers = [await ours.ask(gateway, with_session()) for gateway in (ours.world.fast, ours.world.ordinary)]

        assert [answer.status for answer in answers] == [200, 200]
        assert ours.world.fast.asked == 1

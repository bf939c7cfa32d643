"""Nobody gets another's token or answer, however many clients share connections to the upstream; uses are counted once."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from compat_auth.gateway.decision import Granted
from support.fast_world import ELSEWHERE, OK, SECRET, Call, Client, World, get, post, say, worlds
from support.security.gateway import basic

CLIENTS, ROUNDS = 40, 25
_USERS = [f"user{number}" for number in range(CLIENTS)]


def authorization_of(user: str) -> bytes:
    return b"Authorization: " + basic(user)


def subject(authorization: bytes) -> str:
    payload = authorization.split(b".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))["sub"])


async def tell_who(call: Call) -> None:
    """Answer with the caller's name and target, in one of the ways in which an answer can be framed, or not at all."""
    body = f"{subject(call.values(b'authorization')[0])} {call.target.decode()}".encode()
    way = random.randrange(8)  # noqa: S311  # no secret
    await asyncio.sleep(random.random() / 200)  # noqa: S311  # the same
    if way == 0:
        call.writer.transport.abort()
    elif way == 1:
        await call.write(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        call.writer.close()
    elif way == 2:
        await call.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        )
    elif way == 3:
        await call.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) + OK)
    elif way == 4:
        await call.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        await asyncio.sleep(0)
        await call.write(body)
    else:
        await call.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def test_under_load_everybody_gets_their_own_answer(world: World) -> None:
    await world.warm(*map(authorization_of, _USERS))
    world.upstream.script = tell_who
    seen: Counter[str] = Counter()

    async def speak(client: Client, number: int) -> None:
        shown = random.sample(_USERS, 3)
        targets = [f"/api/v2/{number}/{round_}" for round_ in range(3)]
        # Three users on one connection of a front proxy, in one packet or one after the other.
        raws = [
            get(target.encode(), authorization=authorization_of(user))
            for user, target in zip(shown, targets, strict=True)
        ]
        if random.random() < 0.5:  # noqa: S311  # no secret
            await client.send(b"".join(raws))
            raws = [b""] * 3
        for raw, user, target in zip(raws, shown, targets, strict=True):
            await client.send(raw)
            answer = await client.answer()
            if answer.status == 200:
                assert answer.body == f"{user} {target}".encode()
                assert answer.is_whole
                seen["right"] += 1
            else:
                assert answer.status == 502
                seen["away"] += 1

    async def talk(number: int) -> None:
        async with world.fast.connected() as client:
            for _ in range(ROUNDS):
                await speak(client, number)

    await asyncio.wait_for(asyncio.gather(*map(talk, range(CLIENTS))), 120)

    assert seen["right"] > CLIENTS * ROUNDS * 2
    assert world.fast.asked < CLIENTS * ROUNDS * 3


async def test_a_front_proxy_s_connection_carries_everybody_s_questions(world: World) -> None:
    await world.warm(*map(authorization_of, _USERS))

    def asking(user: str) -> bytes:
        return get(
            b"/compat-auth/forward-auth/nginx",
            b"X-Compat-Auth-Proxy-Secret: " + SECRET,
            b"X-Original-URI: /api/v2/x",
            b"X-Original-Method: GET",
            authorization=authorization_of(user),
        )

    async with world.fast.connected() as client:
        for user in _USERS:
            await client.ask(asking(user))
        world.fast.asked = 0
        for user in random.sample(_USERS * 5, 200):
            answer = await client.ask(asking(user))
            assert subject(dict(answer.headers)[b"authorization"]) == user

    assert world.fast.asked == 0


@pytest.fixture
def uses(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count uses of every grant, as a personal token's are counted."""
    counted: Counter[str] = Counter()
    made = Granted.__init__

    def with_count(granted: Granted, *given: object, **named: object) -> None:
        made(granted, *given, **named)  # type: ignore[arg-type]  # as it was called
        object.__setattr__(granted, "used", lambda: counted.update([granted.identity.username]))

    monkeypatch.setattr(Granted, "__init__", with_count)
    return counted


ANSWERS = {
    "answered": OK,
    "refused-token": b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
    "no-permission": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
    "no-answer": b"",
    "half-an-answer": OK[:-2],
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_use_is_counted_once_by_both_ways(tmp_path: Path, uses: Counter[str], name: str, method: bytes) -> None:
    async with worlds(tmp_path, ELSEWHERE) as world:
        world.upstream.script = say(ANSWERS[name], then_close=not ANSWERS[name] or name == "half-an-answer")
        for gateway in (world.fast, world.ordinary):
            uses.clear()

            await gateway.ask(post(b"x") if method == b"POST" else get())

            assert uses == {"alice": 1}


async def test_a_client_that_leaves_before_the_answer_has_used_its_credential(
    tmp_path: Path, uses: Counter[str]
) -> None:
    came = asyncio.Event()

    async def wait(call: Call) -> None:
        came.set()
        await call.reader.read()

    async with worlds(tmp_path, ELSEWHERE) as world:
        world.upstream.script = wait
        uses.clear()
        async with world.fast.connected() as client:
            await client.send(get())
            await came.wait()
        await asyncio.sleep(0.1)

    assert uses == {"alice": 1}

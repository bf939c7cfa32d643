"""Connections of clients that take both ways: order, back pressure, slow bodies, clients that leave, the end of a worker."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from itertools import product

import psutil
import pytest

from compat_auth.gateway.connections import bounds, clocks
from compat_auth.telemetry import access_log
from support.fast_world import OK, SECRET, Call, Script, World, get, post, say

MIB = 1024 * 1024
YES = get(
    b"/compat-auth/forward-auth/nginx",
    b"X-Compat-Auth-Proxy-Secret: " + SECRET,
    b"X-Original-URI: /api/v2/x",
    b"X-Original-Method: GET",
)


async def echo(call: Call) -> None:
    """Answer with the target, the first ones latest."""
    await asyncio.sleep(random.random() / 100)  # noqa: S311  # no secret
    await call.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(call.target), call.target))


# Targets that say which way they take, but for their place in a packet.
KINDS: dict[str, Callable[[bytes], bytes]] = {
    "fast": get,
    "ordinary": lambda target: get(target, b"TE: trailers"),
    "public": lambda target: get(b"/static" + target),
    "posted": lambda target: post(b"body").replace(b"/api/v2/x", target, 1),
}


def after(go_on: asyncio.Event) -> Script:
    """Return a script that answers once the event has come."""

    async def wait(call: Call) -> None:
        await go_on.wait()
        await call.write(OK)

    return wait


@pytest.mark.parametrize("pieces", [1, 2, 50])
@pytest.mark.parametrize("first", KINDS)
async def test_requests_in_one_packet_are_answered_in_order(world: World, first: str, pieces: int) -> None:
    world.upstream.script = echo
    for kinds in product((first,), KINDS, KINDS):
        raw = b"".join(KINDS[kind](b"/api/v2/%d" % number) for number, kind in enumerate(kinds))

        async with world.fast.connected() as client:
            size = -(-len(raw) // pieces)
            for begin in range(0, len(raw), size):
                await client.send(raw[begin : begin + size])
                await asyncio.sleep(0)
            bodies = [(await client.answer()).body for _ in kinds]

        assert [body[-9:] for body in bodies] == [b"/api/v2/%d" % number for number in range(3)], kinds
        assert len(world.upstream.take()) == 3


async def test_answers_of_forward_auth_keep_their_place_between_others(world: World) -> None:
    world.upstream.script = echo

    async with world.fast.connected() as client:
        await client.ask(YES)
        await client.send(get(b"/api/v2/1") + YES + get(b"/api/v2/2") + YES + YES)
        answers = [await client.answer() for _ in range(5)]

    assert [answer.body for answer in answers] == [b"/api/v2/1", b"", b"/api/v2/2", b"", b""]
    assert [b"authorization" in dict(answer.headers) for answer in answers] == [False, True, False, True, True]


@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
async def test_an_answer_at_once_does_not_overtake_a_head_that_is_held_back(world: World, method: bytes) -> None:
    world.upstream.script = say(b"HTTP/1.1 204 No Content\r\nX-First: 1\r\n\r\n")

    async with world.fast.connected() as client:
        await client.ask(YES)
        (connection,) = world.fast.protocols()
        complete = connection.on_response_complete

        def complete_and_receive() -> None:
            # The data was there in the same turn of the event loop.
            complete()
            connection.on_response_complete = complete  # type: ignore[method-assign]
            connection.data_received(YES)

        connection.on_response_complete = complete_and_receive  # type: ignore[method-assign]
        await client.send(get(b"/static/x", method=method))
        answers = [await client.answer(method), await client.answer()]

    assert [(answer.status, b"x-first" in dict(answer.headers)) for answer in answers] == [(204, True), (200, False)]


async def test_what_comes_while_the_upstream_works_is_answered_afterwards(world: World) -> None:
    world.upstream.script = echo
    targets = [b"/api/v2/%d" % number for number in range(40)]

    async with world.fast.connected() as client:
        for target in targets:
            await client.send(get(target))
            await asyncio.sleep(0.001)
        bodies = [(await client.answer()).body for _ in targets]

    assert bodies == targets


async def test_malformed_bytes_behind_a_request_are_answered_with_400(world: World) -> None:
    async with world.fast.connected() as client:
        await client.send(get() + b"nonsense\r\n\r\n")
        first = await client.answer()

    assert first.status == 400


async def test_malformed_bytes_that_come_later_are_answered_with_400_after_the_answer(world: World) -> None:
    world.upstream.script = echo

    async with world.fast.connected() as client:
        await client.send(get())
        await asyncio.sleep(0.002)
        await client.send(b"nonsense\r\n\r\n")
        answers = [await client.answer(), await client.answer()]
        closed = await client.is_closed()

    assert ([answer.status for answer in answers], closed) == ([200, 400], True)


@pytest.mark.parametrize("size", [1, 7, 300])
async def test_a_request_in_small_pieces_is_answered(world: World, size: int) -> None:
    raw = post(b"x" * 20)

    async with world.fast.connected() as client:
        for begin in range(0, len(raw), size):
            await client.send(raw[begin : begin + size])
            await asyncio.sleep(0)
        answer = await client.answer()

    (call,) = world.upstream.take()
    assert (answer.status, call.body, world.fast.asked) == (200, b"x" * 20, 0)


async def test_a_body_behind_its_head_is_forwarded(world: World) -> None:
    raw = post(b"late" * 100)

    async with world.fast.connected() as client:
        for _ in range(3):
            await client.send(raw[:-400])
            await asyncio.sleep(0.02)
            await client.send(raw[-400:])
            assert (await client.answer()).status == 200

    assert [call.body for call in world.upstream.take()] == [b"late" * 100] * 3
    assert world.fast.asked == 0


@pytest.mark.parametrize("drips", [False, True], ids=["stalls", "drips"])
async def test_a_small_body_that_does_not_come_is_answered_with_408(
    world: World, monkeypatch: pytest.MonkeyPatch, *, drips: bool
) -> None:
    monkeypatch.setattr(clocks, "WINDOW_S", 0.3)
    raw = post(b"x" * 1000)

    async with world.fast.connected() as client:
        await client.ask(get())
        await client.send(raw[:-900])
        answered = asyncio.ensure_future(client.answer())
        while drips and not answered.done():
            await client.send(b"x")
            await asyncio.wait([answered], timeout=0.1)
        answer = await answered

    assert answer.status == 408
    assert [call.head[:3] for call in world.upstream.take()] == [b"GET"]


async def test_a_client_that_waits_for_its_body_makes_room_at_the_bound(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "STALLED_S", 0.05)
    world.fast.bounds._limit = 1  # the fixture's own

    async with world.fast.connected() as stalled:
        await stalled.send(post(b"x" * 100)[:-50])
        await asyncio.sleep(0.2)
        answer = await world.fast.ask(get())
        refused = await stalled.answer()

    assert (answer.status, refused.status) == (200, 408)


async def test_a_client_whose_request_the_upstream_works_on_never_makes_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "STALLED_S", 0.0)
    monkeypatch.setattr(bounds, "IDLE_S", 0.0)
    world.fast.bounds._limit = 1  # the fixture's own
    go_on = asyncio.Event()

    world.upstream.script = after(go_on)
    async with world.fast.connected() as client:
        await client.send(get())
        await asyncio.sleep(0.1)
        refused = await world.fast.ask(get())
        go_on.set()
        answer = await client.answer()

    assert (answer.status, refused.status) == (200, 503)


async def test_an_idle_client_makes_room_and_is_closed_in_time(world: World) -> None:
    world.fast.bounds._limit = 1  # the fixture's own

    async with world.fast.connected() as idle:
        await idle.ask(get())
        await asyncio.sleep(bounds.IDLE_S + 0.3)
        answer = await world.fast.ask(get())
        closed = await idle.is_closed()

    assert (answer.status, closed) == (200, True)


async def test_an_idle_connection_ends_after_its_time(world: World) -> None:
    async with world.fast.connected() as client:
        await client.ask(get())
        (connection,) = world.fast.protocols()
        connection.timeout_keep_alive = 1
        # The first timer was set before.
        connection._idle_timer.cancel()  # type: ignore[attr-defined]
        connection._idle_timer = None  # type: ignore[attr-defined]
        began = time.monotonic()
        for _ in range(3):
            await client.ask(get())
            await asyncio.sleep(0.4)
        closed = await client.is_closed()

    assert closed
    assert 1.6 < time.monotonic() - began < 4


async def test_a_client_that_leaves_ends_the_request_at_the_upstream(world: World) -> None:
    ended = asyncio.Event()

    async def wait(call: Call) -> None:
        await call.write(OK[:-2])
        await call.reader.read()
        ended.set()

    world.upstream.script = wait
    async with world.fast.connected() as client:
        await client.send(get())
        await client.reader.readuntil(b"hel")
    await asyncio.wait_for(ended.wait(), 5)

    assert world.fast.pool().is_idle


async def test_a_client_that_leaves_before_the_answer_ends_the_request_at_the_upstream(world: World) -> None:
    ended, came = asyncio.Event(), asyncio.Event()

    async def wait(call: Call) -> None:
        came.set()
        await call.reader.read()
        ended.set()

    world.upstream.script = wait
    async with world.fast.connected() as client:
        await client.send(get())
        await came.wait()
    await asyncio.wait_for(ended.wait(), 5)

    assert world.fast.pool().is_idle


async def test_the_line_of_a_client_that_leaves_while_a_403_is_held_back_counts_no_bytes(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()

    async def wait(call: Call) -> None:
        await call.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nForb")
        await call.reader.read()
        ended.set()

    monkeypatch.setattr(access_log.OPTIONS, "is_on", True)
    caplog.set_level("INFO", "compat_auth.access")
    world.upstream.script = wait
    async with world.fast.connected() as client:
        await client.send(get())
        await asyncio.sleep(0.1)
    await asyncio.wait_for(ended.wait(), 5)

    (line,) = [json.loads(record.getMessage()) for record in caplog.records if record.name == "compat_auth.access"]
    assert (line["status"], line["bytes"]) == (0, 0)


@pytest.mark.parametrize(("hops", "client"), [("192.0.2.9", "192.0.2.9"), ("", "127.0.0.1")], ids=["named", "unnamed"])
async def test_the_line_of_an_answer_to_a_front_proxy_names_the_client_whichever_way_it_takes(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, hops: str, client: str
) -> None:
    named = b"X-Forwarded-For: " + hops.encode() + b"\r\n\r\n" if hops else b"\r\n"
    asked = YES[:-2] + named
    await world.warm()
    monkeypatch.setattr(access_log.OPTIONS, "is_on", True)
    caplog.set_level("INFO", "compat_auth.access")

    for gateway in (world.fast, world.ordinary):
        assert (await gateway.ask(asked)).status == 200
        assert (await gateway.ask(asked)).status == 200

    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "compat_auth.access"]
    assert [line["client"] for line in lines] == [client] * 4


async def test_a_client_that_resets_within_a_flood_of_answers_harms_no_other(world: World) -> None:
    async def much(call: Call) -> None:
        await call.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MIB + b"x" * MIB)

    world.upstream.script = much

    async def leave(number: int) -> None:
        async with world.fast.connected() as client:
            await client.send(get())
            await asyncio.sleep(number / 2000)
            client.writer.transport.abort()

    await asyncio.gather(*(leave(number) for number in range(30)))
    answer = await world.fast.ask(get())

    assert (len(answer.body), answer.is_whole) == (MIB, True)


async def test_a_slow_reader_holds_the_upstream_back_and_gets_everything(world: World) -> None:
    total, piece = 64 * MIB, b"x" * 65536

    async def much(call: Call) -> None:
        await call.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        for _ in range(total // len(piece)):
            await call.write(piece)

    world.upstream.script = much
    process = psutil.Process()
    async with world.fast.connected() as client:
        before = process.memory_info().rss
        await client.send(get())
        await client.reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1)
        grown = process.memory_info().rss - before
        body = await asyncio.wait_for(client.reader.readexactly(total), 60)
        again = await client.ask(get(authorization=b"X-A: b"))

    assert grown < 24 * MIB
    assert body == b"x" * total
    assert again.status == 401


async def test_a_reader_that_stops_loses_the_connection(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "WINDOW_S", 0.3)
    ended = asyncio.Event()

    async def much(call: Call) -> None:
        try:
            await call.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                await call.write(b"x" * 65536)
                await asyncio.sleep(0)
        finally:
            ended.set()

    world.upstream.script = much
    async with world.fast.connected() as client:
        await client.send(get())
        await client.reader.readuntil(b"\r\n\r\n")
        await asyncio.wait_for(ended.wait(), 20)

    assert world.fast.pool().is_idle


async def test_a_slow_reader_does_not_run_into_the_timeout_of_the_upstream(world: World) -> None:
    total = 32 * MIB

    async def much(call: Call) -> None:
        await call.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total + b"x" * total)

    world.upstream.script = much
    world.fast.pool().body_timeout_s = 0.4
    async with world.fast.connected() as client:
        await client.send(get())
        await client.reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1.5)
        body = await asyncio.wait_for(client.reader.readexactly(total), 60)

    assert len(body) == total


async def test_a_client_that_sends_much_while_it_waits_is_held_back(world: World) -> None:
    go_on = asyncio.Event()

    world.upstream.script = after(go_on)
    flood = get(b"/api/v2/y", b"X-A: " + b"a" * 10_000) * 2000
    async with world.fast.connected() as client:
        await client.send(get())
        await asyncio.sleep(0.05)
        client.writer.write(flood)
        await asyncio.sleep(0.5)
        held = client.writer.transport.get_write_buffer_size()
        go_on.set()
        answers = [(await client.answer()).status for _ in range(2001)]

    assert held > 10 * MIB
    assert set(answers) == {200}


async def test_at_a_stop_a_pending_answer_is_finished_and_says_that_the_connection_ends(world: World) -> None:
    go_on = asyncio.Event()

    world.upstream.script = after(go_on)
    async with world.fast.connected() as client:
        await client.send(get())
        await asyncio.sleep(0.05)
        (connection,) = world.fast.protocols()
        world.fast.bounds.stopping = True
        connection.announce_close()
        assert not connection.is_idle
        go_on.set()
        answer = await client.answer()
        closed = await client.is_closed()

    assert (answer.body, dict(answer.headers)[b"connection"], closed) == (b"hello", b"close", True)


async def test_at_a_stop_a_403_that_is_still_read_says_that_the_connection_ends(world: World) -> None:
    go_on = asyncio.Event()

    async def wait(call: Call) -> None:
        await call.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nForb")
        await go_on.wait()
        await call.write(b"idden")

    world.upstream.script = wait
    async with world.fast.connected() as client:
        await client.send(get())
        await asyncio.sleep(0.05)
        (connection,) = world.fast.protocols()
        world.fast.bounds.stopping = True
        connection.announce_close()
        go_on.set()
        answer = await client.answer()
        closed = await client.is_closed()

    assert (answer.status, answer.body, closed) == (403, b"Forbidden", True)
    assert (b"connection", b"close") in answer.headers


async def test_at_a_stop_an_answer_that_has_begun_is_finished(world: World) -> None:
    go_on = asyncio.Event()

    async def wait(call: Call) -> None:
        await call.write(OK[:-2])
        await go_on.wait()
        await call.write(OK[-2:])

    world.upstream.script = wait
    async with world.fast.connected() as client:
        await client.send(get())
        await asyncio.sleep(0.05)
        (connection,) = world.fast.protocols()
        world.fast.bounds.stopping = True
        connection.announce_close()
        go_on.set()
        answer = await client.answer()
        await asyncio.sleep(0.05)
        is_idle = connection.is_idle

    assert (answer.body, is_idle) == (b"hello", True)


async def test_while_stopping_an_idle_client_is_told_with_its_next_answer(world: World) -> None:
    async with world.fast.connected() as client:
        await client.ask(get())
        world.fast.bounds.stopping = True
        answer = await client.ask(get())
        closed = await client.is_closed()

    assert (dict(answer.headers)[b"connection"], closed) == (b"close", True)


@pytest.mark.parametrize("has_begun", [False, True])
async def test_when_the_worker_ends_a_pending_request_is_answered_with_503(world: World, *, has_begun: bool) -> None:
    async def wait(call: Call) -> None:
        if has_begun:
            await call.write(OK[:-2])
        await call.reader.read()

    world.upstream.script = wait
    async with world.fast.connected() as client:
        await client.send(get())
        await asyncio.sleep(0.05)
        (connection,) = world.fast.protocols()
        connection.end_for_stop()
        answer = await client.answer()

    assert (answer.status, answer.is_whole) == ((200, False) if has_begun else (503, True))


async def test_answers_are_counted_for_uvicorn(world: World) -> None:
    before = world.fast.state.total_requests

    async with world.fast.connected() as client:
        for _ in range(5):
            await client.ask(get())

    assert world.fast.state.total_requests == before + 5


async def test_a_client_gets_its_answer_when_the_first_attempt_fails_and_more_requests_wait(world: World) -> None:
    failures = 0

    async def fail_first(call: Call) -> None:
        nonlocal failures
        failures += 1
        if failures == 1:
            call.writer.transport.abort()
            return
        await echo(call)

    world.upstream.script = fail_first
    async with world.fast.connected() as client:
        await client.send(get(b"/api/v2/1"))
        await asyncio.sleep(0)
        await client.send(get(b"/api/v2/2") + get(b"/static/3"))
        bodies = [(await client.answer()).body for _ in range(3)]

    assert bodies == [b"/api/v2/1", b"/api/v2/2", b"/static/3"]

"""Whatever an upstream sends, in whatever pieces, the client gets the same by both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.fast_world import Answer, Call, Gateway, World, get, post, worlds

_LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 304 Not Modified",
        b"HTTP/1.1 404 Not Found",
        b"HTTP/1.1 403 Forbidden",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 201 Created",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.1 1000 OK",
        b"HTTP/1.1  200 OK",
        b"http/1.1 200 OK",
        b"\r\nHTTP/1.1 200 OK",
    ]
)
_HEADERS = st.sampled_from(
    [
        b"Content-Length: 5",
        b"Content-Length: 5",
        b"Content-Length: 0",
        b"Content-Length: 05",
        b"Content-Length: 5, 5",
        b"Content-Length: -1",
        b"Content-Length:",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: Chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding : chunked",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: X-A",
        b"Connection: content-length",
        b"Connection: transfer-encoding",
        b"Keep-Alive: timeout=5",
        b"Trailer: X-T",
        b"Upgrade: h2c",
        b"Content-Encoding: gzip",
        b"X-A: 1",
        b"X-A: \xff",
        b"X-B:   padded   ",
        b"X-C: a\r\n folded",
        b"X(D: a",
        b"X-E : a",
        b": a",
        b"no colon",
    ]
)
_BODIES = st.sampled_from(
    [
        b"",
        b"hello",
        b"hello and more",
        b"hel",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5;x=y\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
        b"5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"5\r\nhello\r\n",
        b"ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"helloHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
        b"\x1f\x8b\x08\x00",
    ]
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Return bytes that are, or nearly are, an answer."""
    lines = [draw(_LINES), *draw(st.lists(_HEADERS, max_size=4))]
    answer = b"\r\n".join((*lines, b"", draw(_BODIES)))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(answer)))
        answer = answer[:at] + draw(st.binary(max_size=2)) + answer[at + draw(st.integers(0, 2)) :]
    return answer


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, World]]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        manager = worlds(tmp_path_factory.mktemp("any"))
        yield runner, runner.run(manager.__aenter__())
        runner.run(manager.__aexit__(None, None, None))


LATE = Answer(0, [], b"", is_whole=False)


async def both(world: World, raw: bytes, answer: bytes, cuts: list[int]) -> tuple[Answer, Answer]:
    async def in_pieces(call: Call) -> None:
        begin = 0
        for end in (*sorted(cuts), len(answer)):
            await call.write(answer[begin:end])
            begin = end
            await asyncio.sleep(0.001)
        call.writer.close()

    world.upstream.script = in_pieces
    fast, ordinary = await asked(world.fast, raw), await asked(world.ordinary, raw)
    world.upstream.take()
    # Some answers are both unusual and malformed: then the fast way leaves them to the ordinary one, which waits.
    assert fast != LATE or ordinary == LATE
    return fast, ordinary


async def asked(gateway: Gateway, raw: bytes) -> Answer:
    """Return the answer; aiohttp notices some malformed chunks only when the upstream has paused for too long."""
    try:
        return await asyncio.wait_for(gateway.ask(raw), 1.5)
    except TimeoutError:
        return LATE


async def without_stray_bytes(world: World, raw: bytes, answer: bytes, fast: Answer) -> Answer:
    """Return what the ordinary way makes of the answer without bytes behind it, which it refuses in the same packet."""
    ordinary = fast
    for end in reversed(range(len(answer))):
        _, ordinary = await both(world, raw, answer[:end], [])
        if told(ordinary) == told(fast):
            break
    return ordinary


def told(answer: Answer) -> tuple[object, ...]:
    """Return what a client can rely on: nothing, if the answer failed before or after its head was sent."""
    has_failed = answer.status == 502 or not answer.is_whole
    return () if has_failed else (answer.status, answer.headers, answer.body)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(answer=answers(), cuts=st.lists(st.integers(0, 120), max_size=3), method=st.sampled_from([b"GET", b"POST"]))
def test_any_answer_is_the_same_by_both_ways(
    here: tuple[asyncio.Runner, World], answer: bytes, cuts: list[int], method: bytes
) -> None:
    runner, world = here

    raw = get() if method == b"GET" else post(b"x")

    fast, ordinary = runner.run(both(world, raw, answer, cuts))

    if told(fast) != told(ordinary) and fast.is_whole:
        ordinary = runner.run(without_stray_bytes(world, raw, answer, fast))
    assert told(fast) == told(ordinary), (answer, cuts, method)

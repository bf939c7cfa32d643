"""Answers of an upstream that are odd, cut off, late or not asked for: no client gets what is not its own."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest

from support.fast_world import ELSEWHERE, OK, Answer, Call, World, get, post, say, worlds

_HEAD = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n"
# An answer, and whether the upstream closes behind it.
WHOLE: dict[str, tuple[bytes, bool]] = {
    "length": (OK, False),
    "chunked": (_CHUNKED + b"\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", False),
    "chunk-extension": (_CHUNKED + b"\r\n5;a=b\r\nhello\r\n0\r\n\r\n", False),
    "trailers": (_CHUNKED + b"Trailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a=b\r\n\r\n", False),
    "empty-chunked": (_CHUNKED + b"\r\n0\r\n\r\n", False),
    "until-the-end": (_HEAD + b"Content-Type: text/plain\r\n\r\nhello", True),
    "until-the-end-of-1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello", True),
    "kept-in-1.0": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", False),
    "empty": (_HEAD + b"Content-Length: 0\r\n\r\n", False),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", False),
    "204-with-a-length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", False),
    "304-with-a-length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: x\r\n\r\n", False),
    "500": (b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", False),
    "unknown-status": (b"HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok", False),
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", False),
    "cookies": (_HEAD + b"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 2\r\n\r\nok", False),
    "nominated": (
        _HEAD + b"Connection: X-Own, keep-alive\r\nX-Own: 1\r\nX-Two: 2\r\nContent-Length: 2\r\n\r\nok",
        False,
    ),
    "hop-by-hop": (
        _HEAD + b"Keep-Alive: timeout=5\r\nProxy-Authenticate: a\r\nTE: b\r\nContent-Length: 2\r\n\r\nok",
        False,
    ),
    "its-own-headers": (
        _HEAD + b"Date: x\r\nServer: y\r\nVia: z\r\nX-Compat-Auth-User: w\r\nContent-Length: 0\r\n\r\n",
        False,
    ),
    "early-hints": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, False),
    "two-interim-answers": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX-A: b\r\n\r\n" + OK, False),
    "bytes-beyond-ascii": (_HEAD + b"X-A: \xff\xc3\xa9\r\nContent-Length: 2\r\n\r\nok", False),
    "blanks-in-values": (_HEAD + b"X-A:   a  b  \r\nX-B:\r\nContent-Length: 2\r\n\r\nok", False),
    "bare-line-feeds": (OK.replace(b"\r\n", b"\n"), False),
    "folded": (_HEAD + b"X-A: a\r\n b\r\nContent-Length: 2\r\n\r\nhi", False),
    "401": (b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 4\r\n\r\nnope", False),
    "403": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nForbidden", False),
    "403-in-chunks": (b"HTTP/1.1 403 F\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", False),
    "403-until-the-end": (b"HTTP/1.1 403 Forbidden\r\n\r\nForbidden", True),
    "403-of-many-bytes": (b"HTTP/1.1 403 F\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9000, False),
    "empty-403": (b"HTTP/1.1 403 F\r\nContent-Length: 0\r\n\r\n", False),
    "thousand-headers": (
        _HEAD + b"".join(b"X-%d: a\r\n" % n for n in range(1000)) + b"Content-Length: 2\r\n\r\nok",
        False,
    ),
}


async def both(world: World, raw: bytes) -> tuple[Answer, Answer]:
    return await world.fast.ask(raw), await world.ordinary.ask(raw)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
@pytest.mark.parametrize("name", WHOLE)
async def test_an_answer_is_the_same_by_both_ways(world: World, name: str, method: bytes) -> None:
    answer, closes = WHOLE[name]
    world.upstream.script = say(answer, then_close=closes)

    fast, ordinary = await both(world, get(method=method))

    assert fast == ordinary


# What is no answer of HTTP, or not all of one.
BROKEN = {
    "no-http": b"hello\r\n\r\n",
    "999": b"HTTP/1.1 999 X\r\nContent-Length: 2\r\n\r\nhi",
    "101": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "control-character": _HEAD + b"X-A: a\x01b\r\nContent-Length: 2\r\n\r\nhi",
    "bad-name": _HEAD + b"X(A: a\r\nContent-Length: 2\r\n\r\nhi",
    "two-lengths": _HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    "signed-length": _HEAD + b"Content-Length: +2\r\n\r\nhi",
    "length-and-chunked": _CHUNKED + b"Content-Length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "chunked-and-length": _HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "nothing": b"",
    "half-a-head": _HEAD + b"Content-Le",
    "endless-head": _HEAD + b"X-A: " + b"a" * 300_000,
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_no_answer_is_a_502_by_both_ways(world: World, name: str) -> None:
    world.upstream.script = say(BROKEN[name], then_close=True)

    fast, ordinary = await both(world, get())
    posted = await world.fast.ask(post(b"x"))

    assert fast == ordinary
    assert (fast.status, posted.status) == (502, 502)


@pytest.mark.parametrize("name", BROKEN)
async def test_a_request_that_may_have_been_done_is_sent_once(world: World, name: str) -> None:
    world.upstream.script = say(BROKEN[name], then_close=True)

    for method in (b"POST", b"PATCH", b"DELETE"):
        await world.fast.ask(post(b"x", method=method))

    assert [call.head.split(b" ")[0] for call in world.upstream.take()] == [b"POST", b"PATCH", b"DELETE"]


@pytest.mark.parametrize("raw", [get(), post(b"x")], ids=["get", "post"])
async def test_a_malformed_body_in_the_packet_of_its_head_is_a_502_at_once(world: World, raw: bytes) -> None:
    world.upstream.script = say(_CHUNKED + b"\r\nhello\r\n0\r\n\r\n")

    answer = await world.fast.ask(raw)

    assert (answer.status, len(world.upstream.take())) == (502, 1)


CUT = {name: WHOLE[name][0] for name in ("length", "chunked", "trailers", "early-hints", "403", "403-in-chunks")}


@pytest.mark.parametrize("name", CUT)
async def test_an_upstream_that_ends_at_any_byte_leaves_no_whole_answer(world: World, name: str) -> None:
    answer = CUT[name]
    begins = len(answer) - len(answer.split(b"\r\n\r\n", 2 if name == "early-hints" else 1)[-1])
    outcomes: list[tuple[int, bool]] = []

    for end in range(len(answer)):
        world.upstream.script = say(answer[:end], then_close=True)
        got = await world.fast.ask(get())
        outcomes.append((got.status, got.is_whole))

    expected = [(502, True)] * (len(answer) if name.startswith("403") else begins)
    assert outcomes[: len(expected)] == expected
    assert all(outcome == (200, False) for outcome in outcomes[len(expected) :])


async def test_an_upstream_that_resets_within_a_body_until_its_end_leaves_no_whole_answer(world: World) -> None:
    async def reset(call: Call) -> None:
        await call.write(_HEAD + b"\r\nhel")
        await asyncio.sleep(0.05)
        call.writer.get_extra_info("socket").setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")
        call.writer.transport.abort()

    world.upstream.script = reset

    answer = await world.fast.ask(get())

    assert (answer.status, answer.body, answer.is_whole) == (200, b"hel", False)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("name", ["length", "chunked", "trailers", "two-interim-answers", "204", "403"])
async def test_an_answer_in_small_pieces_is_the_same_answer(world: World, name: str, size: int) -> None:
    answer, _ = WHOLE[name]

    async def drip(call: Call) -> None:
        for begin in range(0, len(answer), size):
            await call.write(answer[begin : begin + size])
            await asyncio.sleep(0)

    world.upstream.script = drip
    in_pieces = await world.fast.ask(get())
    world.upstream.script = say(answer)

    assert in_pieces == await world.ordinary.ask(get())


STRAY = {
    "another-answer": OK,
    "half-a-head": b"HTTP/1.1 200",
    "one-byte": b"x",
    "line-break-and-more": b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
}


@pytest.mark.parametrize("when", ["with the answer", "at once", "later"])
@pytest.mark.parametrize("name", STRAY)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_bytes_that_nobody_asked_for_close_the_connection_and_reach_nobody(
    world: World, name: str, when: str, method: bytes
) -> None:
    async def more(call: Call) -> None:
        own = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + (b"" if method == b"HEAD" else b"mine")
        if when == "with the answer":
            await call.write(own + STRAY[name])
            return
        await call.write(own)
        await asyncio.sleep(0.05 if when == "later" else 0)
        await call.write(STRAY[name])

    async with world.fast.connected() as client:
        for _ in range(3):
            world.upstream.script = more
            answer = await client.ask(get(method=method))
            assert (answer.status, answer.body) == (200, b"" if method == b"HEAD" else b"mine")
            await asyncio.sleep(0.08 if when == "later" else 0)

    assert world.upstream.connections >= 3
    assert world.fast.asked == 0


async def test_bytes_that_the_event_loop_has_not_read_yet_are_nobody_s_answer(world: World) -> None:
    async with world.fast.connected() as client:
        await client.ask(get())
        (call,) = world.upstream.take()
        # Both in one turn of the event loop, which reads the client first or the upstream first.
        call.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen")
        answer = await client.ask(get())

    assert answer.body == b"hello"


async def test_a_connection_is_used_again(world: World) -> None:
    before = world.upstream.connections

    async with world.fast.connected() as client:
        bodies = [(await client.ask(raw)).body for raw in (get(), post(b"x"), get(), get(method=b"HEAD"), get()) * 3]

    assert bodies == [b"hello", b"hello", b"hello", b"", b"hello"] * 3
    assert world.upstream.connections == before + 1


async def test_a_connection_is_not_used_again_after_the_upstream_s_own_time(world: World) -> None:
    world.upstream.script = say(OK.replace(b"OK\r\n", b"OK\r\nKeep-Alive: timeout=1\r\n"))
    before = world.upstream.connections

    async with world.fast.connected() as client:
        for _ in range(3):
            await client.ask(get())

    assert world.upstream.connections == before + 3


async def test_an_idle_connection_is_closed_in_time(world: World) -> None:
    await world.fast.ask(get())
    (call,) = world.upstream.take()

    # [upstream] keepalive_s is 1.5.
    await asyncio.wait_for(call.writer.wait_closed(), 4)

    assert call.writer.is_closing()


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_head_that_does_not_come_in_time_is_a_504_and_asked_for_once(tmp_path: Path, method: bytes) -> None:
    async def wait(call: Call) -> None:
        await call.write(_HEAD[:9])
        await call.reader.read()

    async with worlds(tmp_path, ELSEWHERE) as world:
        world.upstream.script = wait
        pool = world.fast.pool()
        pool.head_timeout_s = 0.3

        answer = await world.fast.ask(get(method=method))

        assert answer.status == 504
        assert len(world.upstream.take()) == 1


async def test_a_body_that_pauses_for_too_long_is_broken_off(world: World) -> None:
    async def wait(call: Call) -> None:
        await call.write(OK[:-2])
        await call.reader.read()

    world.upstream.script = wait
    world.fast.pool().body_timeout_s = 0.3

    answer = await world.fast.ask(get())

    assert (answer.status, answer.body, answer.is_whole) == (200, b"hel", False)


async def test_a_body_that_goes_on_in_time_may_take_longer(world: World) -> None:
    async def drip(call: Call) -> None:
        await call.write(OK[:-5])
        for letter in b"hello":
            await asyncio.sleep(0.15)
            await call.write(bytes((letter,)))

    world.upstream.script = drip
    world.fast.pool().body_timeout_s = 0.5

    answer = await world.fast.ask(get())

    assert (answer.body, answer.is_whole) == (b"hello", True)


async def test_beyond_the_bound_of_connections_requests_take_the_ordinary_way(world: World) -> None:
    async def wait(call: Call) -> None:
        await asyncio.sleep(0.3)
        await call.write(OK)

    world.upstream.script = wait
    world.fast.pool().most = 3

    answers = await asyncio.gather(*(world.fast.ask(get()) for _ in range(8)))

    assert [answer.body for answer in answers] == [b"hello"] * 8
    assert world.fast.asked == 5


REFUSED = {
    "401": b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\n\r\nsecret",
    "403": b'HTTP/1.1 403 F\r\nContent-Length: 30\r\n\r\n{"detail":"Invalid JWT token"}',
    "403-in-chunks": b"HTTP/1.1 403 F\r\nTransfer-Encoding: chunked\r\n\r\n11\r\nInvalid JWT token\r\n0\r\n\r\n",
    "403-compressed": (
        b"HTTP/1.1 403 F\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(gzip.compress(b"Invalid JWT token", mtime=0)), gzip.compress(b"Invalid JWT token", mtime=0))
    ),
}


@pytest.mark.parametrize("raw", [get(), post(b"x" * 1000)], ids=["get", "post"])
@pytest.mark.parametrize("name", REFUSED)
async def test_a_refused_token_is_renewed_and_the_client_sees_nothing_of_it(
    world: World, name: str, raw: bytes
) -> None:
    tokens: list[bytes] = []

    async def refuse_the_first(call: Call) -> None:
        (token,) = call.values(b"authorization")
        tokens.append(token)
        await call.write(REFUSED[name] if token == tokens[0] else OK)

    world.upstream.script = refuse_the_first

    answer = await world.fast.ask(raw)

    assert (answer.status, answer.body) == (200, b"hello")
    assert len(set(tokens)) == 2
    assert world.fast.asked == 1


async def test_a_missing_permission_is_asked_about_once(world: World) -> None:
    world.upstream.script = say(WHOLE["403"][0])

    answer = await world.fast.ask(post(b"x"))

    assert (answer.status, answer.body) == (403, b"Forbidden")
    assert (len(world.upstream.take()), world.fast.asked) == (1, 0)

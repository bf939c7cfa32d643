"""The connections to the upstream: whose answer it is, where it ends, and what is sent again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from compat_auth.config import UpstreamSettings
from compat_auth.errors import ConfigError, UpstreamTimeout, UpstreamUnreachable
from compat_auth.upstream_connection import MAX_ANSWER_HEAD_BYTES, UpstreamConnection
from compat_auth.upstream_pool import UpstreamPool

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]


@asynccontextmanager
async def upstream(
    speak: Speak, *, timeout_s: float = 60, idle_timeout_s: float = 300
) -> AsyncGenerator[UpstreamPool, None]:
    """Run a server that speaks on each connection, which it is told the number of, and a pool to it."""
    number = 0
    speaking: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        number += 1
        task = asyncio.current_task()
        assert task is not None
        speaking.add(task)
        try:
            await speak(reader, writer, number)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            speaking.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = UpstreamPool(
        UpstreamSettings(url=f"http://127.0.0.1:{port}", timeout_s=timeout_s, idle_timeout_s=idle_timeout_s)
    )
    yield pool
    pool.close()
    server.close()
    await asyncio.gather(*speaking)


def answering(*answers: bytes) -> Speak:
    """Give these answers to the requests of a connection, in turn, then close it."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        await reader.read()

    return speak


async def whole(answer: UpstreamConnection) -> bytes:
    """Return the rest of a body and release the connection."""
    body, more = b"", True
    try:
        while more:
            part, more = await answer.read()
            body += part
    finally:
        answer.release()
    return body


async def test_a_connection_serves_the_next_request() -> None:
    async with upstream(answering(OK, OK.replace(b"ok", b"no"))) as pool:
        first = await pool.ask("GET", GET, b"")
        first_body = await whole(first)
        second = await pool.ask("GET", GET, b"")

        assert second is first
        assert (first_body, await whole(second)) == (b"ok", b"no")


async def test_two_requests_at_once_never_share_a_connection() -> None:
    async with upstream(answering(OK)) as pool:
        first = await pool.ask("GET", GET, b"")
        second = await pool.ask("GET", GET, b"")

        assert first is not second
        assert [await whole(first), await whole(second)] == [b"ok", b"ok"]


@pytest.mark.parametrize(
    "surplus",
    [
        pytest.param(OK, id="another-answer"),
        pytest.param(b"garbage", id="garbage"),
        pytest.param(b"HTTP/1.1 200", id="the-beginning-of-another-answer"),
    ],
)
async def test_an_answer_that_nobody_asked_for_is_never_the_next_requests(surplus: bytes) -> None:
    async with upstream(answering(OK + surplus)) as pool:
        first = await pool.ask("GET", GET, b"")
        first_body = await whole(first)
        second = await pool.ask("GET", GET, b"")

        assert second is not first
        assert first_body == b"ok"
        second.release()


async def test_what_comes_unasked_between_two_requests_ends_the_connection() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await asyncio.sleep(0.05)
        writer.write(OK.replace(b"ok", b"no"))
        await reader.read()

    async with upstream(speak) as pool:
        await whole(await pool.ask("GET", GET, b""))
        await asyncio.sleep(0.15)
        second = await pool.ask("GET", GET, b"")

        assert await whole(second) == b"ok"


@pytest.mark.parametrize(
    ("method", "answer", "status", "body", "is_kept"),
    [
        pytest.param("GET", b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n" + OK, 200, b"ok", True, id="early-hints-first"),
        pytest.param("GET", b"HTTP/1.1 204 No\r\n\r\n", 204, b"", True, id="no-content"),
        pytest.param("GET", b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", 304, b"", True, id="not-modified"),
        pytest.param("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 200, b"", True, id="head"),
        pytest.param("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, b"", False, id="head-with-a-body"),
        pytest.param(
            "GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\nX-Trailer: t\r\n\r\n",
            200,
            b"ab",
            True,
            id="chunked-with-a-trailer",
        ),
        pytest.param(
            "GET",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            200,
            b"ok",
            False,
            id="closing",
        ),
    ],
)
async def test_an_answer_ends_where_it_says(
    method: str, answer: bytes, status: int, body: bytes, is_kept: bool
) -> None:
    async with upstream(answering(answer, answer)) as pool:
        found = await pool.ask(method, GET.replace(b"GET", method.encode()), b"")

        assert found.status == status
        assert all(name != b"x-trailer" for name, _ in found.headers)
        assert await whole(found) == body
        assert found.is_open is is_kept


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall")

    async with upstream(speak) as pool:
        assert await whole(await pool.ask("GET", GET, b"")) == b"all"


@pytest.mark.parametrize(
    "half",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", id="chunked"),
    ],
)
async def test_half_an_answer_is_never_taken_for_the_whole(half: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(half)

    async with upstream(speak) as pool:
        answer = await pool.ask("GET", GET, b"")

        with pytest.raises(UpstreamUnreachable):
            await whole(answer)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SMTP ready\r\n", id="another-protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok", id="two-lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok", id="two-content-lengths"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", id="unasked-upgrade"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: " + b"x" * MAX_ANSWER_HEAD_BYTES, id="a-head-without-end"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_what_is_no_answer_is_an_unreachable_upstream(answer: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with upstream(speak) as pool:
        with pytest.raises(UpstreamUnreachable):
            await pool.ask("GET", GET, b"")


async def _closing_the_first_after_one_answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)
    # The next request on the first connection is taken in, and the connection closed without an answer to it.
    await reader.readuntil(b"\r\n\r\n")
    if number > 1:
        writer.write(OK)


async def test_an_idempotent_request_is_sent_again_when_a_kept_connection_has_ended() -> None:
    async with upstream(_closing_the_first_after_one_answer) as pool:
        await whole(await pool.ask("GET", GET, b""))

        assert await whole(await pool.ask("GET", GET, b"")) == b"ok"


async def test_a_post_is_never_sent_twice() -> None:
    async with upstream(_closing_the_first_after_one_answer) as pool:
        await whole(await pool.ask("GET", GET, b""))

        with pytest.raises(UpstreamUnreachable):
            await pool.ask("POST", GET.replace(b"GET", b"POST"), b"")


async def test_an_upstream_that_says_nothing_times_out() -> None:
    async def speak(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _number: int) -> None:
        await reader.read()

    async with upstream(speak, timeout_s=0.1) as pool:
        with pytest.raises(UpstreamTimeout):
            await pool.ask("GET", GET, b"")


async def test_an_answer_that_pauses_for_too_long_times_out() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await reader.read()

    async with upstream(speak, timeout_s=0.1, idle_timeout_s=0.2) as pool:
        answer = await pool.ask("GET", GET, b"")
        answer.allow_pauses()

        with pytest.raises(UpstreamTimeout):
            await whole(answer)


async def test_a_slow_reader_does_not_time_out_and_holds_the_upstream_back() -> None:
    size = 16 * 1024 * 1024
    written = 0

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while written < size:
            writer.write(bytes(65536))
            await writer.drain()
            written += 65536

    async with upstream(speak, timeout_s=0.1, idle_timeout_s=0.1) as pool:
        answer = await pool.ask("GET", GET, b"")
        await asyncio.sleep(0.4)
        written_meanwhile = written

        assert len(await whole(answer)) == size
        assert written_meanwhile < size


async def test_a_stream_goes_up_in_chunks_and_the_answer_may_come_before_its_end() -> None:
    taken = b""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        nonlocal taken
        taken = await reader.readuntil(b"0\r\n\r\n")
        writer.write(OK)
        await reader.read()

    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"three"

    head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    async with upstream(speak) as pool:
        body = await whole(await pool.ask("POST", head, parts()))

        assert body == b"ok"
        assert taken == head + b"3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"


async def test_an_early_answer_ends_an_upload_and_its_connection() -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(60)

    head = b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n"
    async with upstream(answering(OK)) as pool:
        answer = await pool.ask("PUT", head, endless())

        assert await whole(answer) == b"ok"
        assert not answer.is_open


async def test_what_breaks_an_upload_reaches_who_waits_for_the_answer() -> None:
    class Gone(Exception):
        pass

    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise Gone

    head = b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n"
    async with upstream(answering(OK[:10])) as pool:
        with pytest.raises(Gone):
            await pool.ask("PUT", head, broken())


async def test_nobody_there_is_an_unreachable_upstream() -> None:
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()

    with pytest.raises(UpstreamUnreachable):
        await UpstreamPool(UpstreamSettings(url=f"http://127.0.0.1:{port}")).ask("GET", GET, b"")


@pytest.mark.parametrize(
    "url", ["", "ftp://a", "http://", "a:80", "http://u:p@a", "http://a?q", "http://a:99999", "http://a#f", "http://[a"]
)
def test_what_is_not_a_servers_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"upstream\.url"):
        UpstreamPool(UpstreamSettings(url=url))

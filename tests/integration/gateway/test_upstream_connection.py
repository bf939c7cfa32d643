"""A kept connection is looked at before use: the event loop may not know yet that it has ended."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from compat_auth.gateway.proxy.upstream_connection import (
    StaleConnection,
    UpstreamRequest,
    UpstreamResponse,
    header_text,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(autouse=True)
async def settled() -> AsyncIterator[None]:
    """Let the servers of a test close their connections before the event loop ends."""
    yield
    await asyncio.sleep(0.1)


@pytest.fixture
def closing() -> Iterator[str]:
    """An upstream on a thread that closes each connection a moment after its first answer, without a word."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                received = b""
                while not received.endswith(b"\r\n\r\n"):
                    received += connection.recv(65536)
                connection.sendall(OK)
                time.sleep(0.05)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


async def test_nothing_is_sent_on_a_connection_that_has_ended_unnoticed(closing: str) -> None:
    async with aiohttp.ClientSession(request_class=UpstreamRequest, response_class=UpstreamResponse) as session:
        async with session.post(closing) as answer:
            await answer.read()
        # The end arrives while the event loop is busy.
        time.sleep(0.2)  # noqa: ASYNC251  # that is the point

        with pytest.raises(StaleConnection):
            await session.post(closing)
        async with session.post(closing) as again:
            status = again.status

    assert status == 200


async def test_a_head_keeps_its_bytes_and_a_body_with_the_same_ones_too() -> None:
    received = bytearray()
    done = asyncio.Event()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not received.endswith(b"END"):
            received.extend(await reader.read(65536))
        writer.write(OK)
        writer.close()
        await writer.wait_closed()
        done.set()

    async with await asyncio.start_server(keep, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        body = b"\xe9\r\n\r\nX-Name: \xe9" * 10_000 + b"END"
        async with aiohttp.ClientSession(request_class=UpstreamRequest, response_class=UpstreamResponse) as session:
            await session.post(url, headers={"X-Name": header_text(b"Jos\xe9"), "X-Other": "é"}, data=body)
            await done.wait()

    head, _, sent = bytes(received).partition(b"\r\n\r\n")
    assert b"\r\nX-Name: Jos\xe9\r\n" in head + b"\r\n"
    assert b"\r\nX-Other: \xc3\xa9\r\n" in head + b"\r\n"
    assert sent == body


async def test_a_body_that_streams_is_whole_on_the_next_connection(closing: str) -> None:
    received = bytearray()

    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not received.endswith(b"0\r\n\r\n"):
            received.extend(await reader.read(65536))
        writer.write(OK)
        writer.close()

    body = parts()
    async with (
        await asyncio.start_server(keep, "127.0.0.1", 0) as server,
        aiohttp.ClientSession(request_class=UpstreamRequest, response_class=UpstreamResponse) as session,
    ):
        async with session.post(closing) as answer:
            await answer.read()
        time.sleep(0.2)  # noqa: ASYNC251  # the end arrives while the event loop is busy
        with pytest.raises(StaleConnection):
            await session.post(closing, data=body)

        async with session.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", data=body) as again:
            status = again.status

    assert status == 200
    assert received.partition(b"\r\n\r\n")[2] == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


async def test_an_answer_that_nobody_asked_for_reaches_nobody() -> None:
    answered = 0

    async def answer_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        while (await reader.read(65536)).endswith(b"\r\n\r\n"):
            answered += 1
            writer.write(OK)
            if answered == 1:
                await asyncio.sleep(0.05)
                writer.write(OK.replace(b"ok", b"no"))
        writer.close()

    async with (
        await asyncio.start_server(answer_twice, "127.0.0.1", 0) as server,
        aiohttp.ClientSession(request_class=UpstreamRequest, response_class=UpstreamResponse) as session,
    ):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with session.get(url) as answer:
            await answer.read()
        # Nothing is left in the socket: the event loop reads what comes while the connection is idle.
        await asyncio.sleep(0.2)

        with pytest.raises(StaleConnection):
            await session.get(url)
        async with session.get(url) as again:
            body = await again.read()

    assert body == b"ok"

"""A client that sends its body, or takes its answer, too slowly does not hold its connection; a patient one keeps it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn

from compat_auth.gateway.connections import bounds, clocks
from compat_auth.gateway.connections.bounds import ConnectionBounds
from compat_auth.gateway.connections.uvicorn_protocol import StrictProtocol
from compat_auth.gateway.server.server import uvicorn_config
from compat_auth.http.asgi import ASGIApp, Receive, Scope, Send, respond

WINDOW_S = 0.4
MIN_BYTES = 1000
BIG = 8 * 1024 * 1024
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "WINDOW_S", WINDOW_S)
    monkeypatch.setattr(clocks, "MIN_WINDOW_BYTES", MIN_BYTES)


@asynccontextmanager
async def serving(app: ASGIApp, bounds: ConnectionBounds | None = None) -> AsyncGenerator[tuple[str, int]]:
    config = uvicorn_config(app, "off", bounds=bounds)
    config.load()
    state = uvicorn.Server(config).server_state
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: StrictProtocol(config, state, {}), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()
        for connection in list(state.connections):
            connection.transport.abort()


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer once the whole body is there."""
    del scope
    more, size = True, 0
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more, size = message.get("more_body", False), size + len(message.get("body", b""))
    await respond(send, 200, b"%d" % size)


async def at_once(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer before the body."""
    del scope, receive
    await respond(send, 401, b"no")


async def much(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with more than any buffer holds."""
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % BIG)]})
    for _ in range(BIG // 65536):
        await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def everything(reader: asyncio.StreamReader) -> bytes:
    received = b""
    try:
        while part := await asyncio.wait_for(reader.read(65536), 5):
            received += part
    except ConnectionError:
        pass
    return received


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"Content-Length: 100\r\n\r\n", id="nothing"),
        pytest.param(b"Content-Length: 100\r\n\r\n{", id="one-byte"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", id="half-a-chunk"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n5;ext=", id="a-chunk-extension"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Trailer: ", id="a-trailer"),
        pytest.param(b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 100\r\n\r\n{", id="upgrade"),
        pytest.param(b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n", id="told-to-continue"),
    ],
)
async def test_a_body_that_stalls_is_answered_with_408_and_closed(sent: bytes) -> None:
    async with serving(reading) as address:
        reader, writer = await asyncio.open_connection(*address)
        began = time.monotonic()

        writer.write(POST + sent)
        received = await everything(reader)

        writer.close()
    head, _, body = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head.lower()
    assert b'"status": 408' in body
    assert time.monotonic() - began < 4 * WINDOW_S


@pytest.mark.parametrize(
    "piece",
    [pytest.param(b"1\r\nx\r\n", id="chunks-of-one-byte"), pytest.param(b"1;a=b\r\nx\r\n", id="with-extensions")],
)
async def test_a_body_that_drips_is_answered_with_408(piece: bytes) -> None:
    async with serving(reading) as address:
        reader, writer = await asyncio.open_connection(*address)

        async def drip() -> None:
            writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(piece)
                await asyncio.sleep(0.02)

        dripping = asyncio.ensure_future(drip())
        received = await everything(reader)

        dripping.cancel()
        writer.close()
    assert received.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("piece", "status"), [(b"a", b"408"), (b"a" * 1000, b"200")], ids=["a-byte-now-and-then", "progress"]
)
async def test_at_the_bound_a_body_that_drips_makes_room(
    monkeypatch: pytest.MonkeyPatch, piece: bytes, status: bytes
) -> None:
    monkeypatch.setattr(bounds, "STALLED_S", WINDOW_S / 2)
    async with serving(reading, ConnectionBounds(limit=1)) as address:
        slow, dripping = await asyncio.open_connection(*address)
        dripping.write(POST + b"Content-Length: %d\r\n\r\n" % (len(piece) * 7))
        for _ in range(6):
            dripping.write(piece)
            await asyncio.sleep(0.05)

        other, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answered = await asyncio.wait_for(other.read(12), 5)
        dripping.write(piece)
        ended = await asyncio.wait_for(slow.read(12), 5)

        for end in (writer, dripping):
            end.close()
    assert ended.startswith(b"HTTP/1.1 " + status)
    assert answered.startswith(b"HTTP/1.1 " + (b"200" if status == b"408" else b"503"))


async def test_a_body_that_goes_on_after_its_answer_does_not_hold_the_connection() -> None:
    async with serving(at_once) as address:
        reader, writer = await asyncio.open_connection(*address)
        began = time.monotonic()

        writer.write(POST + b"Content-Length: 100\r\n\r\n{")
        received = await everything(reader)

        writer.close()
    assert received.count(b"HTTP/1.1 ") == 1
    assert time.monotonic() - began < 4 * WINDOW_S


async def test_a_slow_body_that_makes_progress_arrives() -> None:
    async with serving(reading) as address:
        reader, writer = await asyncio.open_connection(*address)

        writer.write(POST + b"Connection: close\r\nContent-Length: 6000\r\n\r\n")
        for _ in range(12):
            writer.write(bytes(500))
            await asyncio.sleep(WINDOW_S / 4)
        received = await everything(reader)

        writer.close()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"6000")


async def test_a_client_whose_body_is_not_read_for_a_while_is_not_to_blame() -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.sleep(3 * WINDOW_S)
        await reading(scope, receive, send)

    async with serving(late) as address:
        reader, writer = await asyncio.open_connection(*address)

        writer.write(POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % BIG)
        writer.write(bytes(BIG))
        received = await everything(reader)

        writer.close()
    assert received.startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_was_not_told_to_go_on_is_not_to_blame() -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(3 * WINDOW_S)
        await at_once(scope, receive, send)

    async with serving(late) as address:
        reader, writer = await asyncio.open_connection(*address)

        writer.write(POST + b"Connection: close\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
        received = await everything(reader)

        writer.close()
    assert received.startswith(b"HTTP/1.1 401 ")


async def test_an_answer_to_a_whole_body_may_take_longer() -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.sleep(3 * WINDOW_S)
        await at_once(scope, receive, send)

    async with serving(late) as address:
        reader, writer = await asyncio.open_connection(*address)

        writer.write(POST + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}")
        received = await everything(reader)

        writer.close()
    assert received.startswith(b"HTTP/1.1 401 ")


def connected(address: tuple[str, int]) -> socket.socket:
    """Return a connection that takes little before its client reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(10)
    client.connect(address)
    return client


def read_slowly(client: socket.socket, pause_s: Callable[[int], float]) -> int:
    size = 0
    try:
        while part := client.recv(65536):
            time.sleep(pause_s(size))
            size += len(part)
    except ConnectionError:
        pass
    return size


@pytest.mark.parametrize("headers", [b"", b"Connection: close\r\n"])
async def test_a_client_that_does_not_take_its_answer_loses_the_connection(headers: bytes) -> None:
    ended = asyncio.Event()

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        await much(scope, receive, send)
        ended.set()

    async with serving(watched) as address:
        with connected(address) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")

            await asyncio.wait_for(ended.wait(), 6 * WINDOW_S)

            assert await asyncio.to_thread(read_slowly, client, lambda _: 0) < BIG


async def test_a_client_that_takes_its_answer_slowly_gets_all_of_it() -> None:
    async with serving(much) as address:
        with connected(address) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

            size = await asyncio.to_thread(read_slowly, client, lambda _: 0.002)

    assert size > BIG


async def test_a_closed_connection_whose_answer_is_not_taken_ends() -> None:
    async def whole(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await respond(send, 200, bytes(BIG))

    async with serving(whole) as address:
        with connected(address) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

            await asyncio.sleep(4 * WINDOW_S)

            assert await asyncio.to_thread(read_slowly, client, lambda _: 0) < BIG

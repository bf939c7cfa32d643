"""A client that never ends its request line does not hold a connection for ever."""

from __future__ import annotations

import asyncio
import time

import pytest
import uvicorn

from compat_auth.gateway.connections import uvicorn_protocol
from compat_auth.gateway.server.server import uvicorn_config
from compat_auth.http.asgi import Receive, Scope, Send


async def slow_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer after a second."""
    await receive()
    await asyncio.sleep(1)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def _talk(data: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, float]:
    monkeypatch.setattr(uvicorn_protocol, "HEADER_TIMEOUT_S", 0.3)
    config = uvicorn_config(slow_app, "off")
    config.load()
    state = uvicorn.Server(config).server_state
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: uvicorn_protocol.StrictProtocol(config, state, {}), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(data)
        started = time.monotonic()
        try:
            received = await asyncio.wait_for(reader.read(10), 5)
        except ConnectionError:
            received = b""
        writer.close()
    return received, time.monotonic() - started


@pytest.mark.parametrize("data", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ", b"\r\n"])
async def test_a_head_that_does_not_end_ends_the_connection(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    received, seconds = await _talk(data, monkeypatch)

    assert received == b""
    assert 0.2 < seconds < 2


@pytest.mark.parametrize("after", [b"", b"\r\n", b"GET /next HT"])
async def test_an_answer_may_take_longer_than_a_head(after: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    received, seconds = await _talk(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + after, monkeypatch)

    assert received == b"HTTP/1.1 2"
    assert seconds > 0.9

"""The listener of metrics, and the values that it asks for."""

from __future__ import annotations

import asyncio
import socket

import pytest

from compat_auth.errors import BackendUnavailable
from compat_auth.gateway.telemetry import listener, scrape
from compat_auth.gateway.telemetry.listener import MetricsListener
from compat_auth.gateway.telemetry.scrape import Surroundings, is_up

MIB = 1024 * 1024


async def works() -> None:
    pass


async def fails() -> None:
    raise BackendUnavailable("the store cannot be used")


async def is_away() -> None:
    raise ConnectionRefusedError


async def hangs() -> None:
    await asyncio.Event().wait()


async def test_what_fails_or_hangs_is_shown_as_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "_UP_S", 0.05)
    required = {"works_up": works, "fails_up": fails, "away_up": is_away, "hangs_up": hangs}

    numbers = await Surroundings({name: is_up(require) for name, require in required.items()}).numbers()

    shown = {name: numbers[name][()] for name in required}
    assert shown == {"works_up": [1.0], "fails_up": [0.0], "away_up": [0.0], "hangs_up": [0.0]}


def test_a_value_is_found_out_before_a_scrape_gives_up() -> None:
    assert 0 < scrape._UP_S < scrape.PROBE_S


@pytest.mark.parametrize("length", [8 * MIB, 64 * 1024], ids=["beyond-the-buffer", "within-it"])
async def test_a_client_that_does_not_read_loses_the_connection(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    async def answer(_self: MetricsListener, _reader: asyncio.StreamReader) -> bytes:
        return b"x" * length

    monkeypatch.setattr(listener, "_HEAD_S", 0.1)
    monkeypatch.setattr(MetricsListener, "_answer", answer)
    server = MetricsListener(Surroundings({}), dict)
    bound = socket.create_server(("127.0.0.1", 0))
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    await server.open(bound)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(bound.getsockname())
        client.setblocking(False)
        await asyncio.sleep(0.05)
        open_before = server._open
        await asyncio.sleep(0.6)

        received = 0
        while part := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, MIB), 5):
            received += len(part)
    server.close()

    assert (open_before, server._open) == (1, 0)
    assert received < length

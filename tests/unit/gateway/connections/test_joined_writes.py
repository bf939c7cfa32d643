"""A head goes out with its body, and never without being sent."""

from __future__ import annotations

import asyncio
from typing import cast

from compat_auth.gateway.connections.joined_writes import JoinedWrites

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Recorder:
    """A transport that records."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.written.append(data)

    def close(self) -> None:
        self.is_closed = True


def joined(recorder: Recorder) -> JoinedWrites:
    return JoinedWrites(cast("asyncio.Transport", recorder), asyncio.get_running_loop())


async def test_a_head_and_the_first_part_are_one_write() -> None:
    recorder = Recorder()
    transport = joined(recorder)

    transport.write(HEAD)
    transport.write(b"ok")
    transport.write(b"more")
    await asyncio.sleep(0)

    assert recorder.written == [HEAD + b"ok", b"more"]


async def test_a_head_alone_is_sent_in_the_same_turn_of_the_loop() -> None:
    recorder = Recorder()

    joined(recorder).write(HEAD)
    await asyncio.sleep(0)

    assert recorder.written == [HEAD]


async def test_a_head_is_sent_before_the_connection_closes() -> None:
    recorder = Recorder()
    transport = joined(recorder)

    transport.write(HEAD)
    transport.close()
    await asyncio.sleep(0)

    assert recorder.written == [HEAD]
    assert recorder.is_closed


async def test_a_large_part_is_not_copied() -> None:
    recorder = Recorder()
    transport = joined(recorder)
    part = bytes(1024 * 1024)

    transport.write(HEAD)
    transport.write(part)

    assert recorder.written[0] == HEAD
    assert recorder.written[1] is part


async def test_data_that_waits_for_nothing_goes_behind_a_head_that_is_held_back() -> None:
    recorder = Recorder()
    transport = joined(recorder)

    transport.write(HEAD)
    transport.write_at_once(HEAD + b"ok")
    await asyncio.sleep(0)

    assert recorder.written == [HEAD, HEAD + b"ok"]

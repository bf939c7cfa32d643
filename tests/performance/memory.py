"""Memory that large bodies, idle streams and further workers take, and the time to the first answer."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path

from performance import servers
from performance.load import Target, ask, load, request_head
from performance.programs import MIB, Program
from performance.table import Row, at_most
from performance.warm import expect

_LOGIN = {"Authorization": servers.AUTHORIZATION}
_CHUNK = bytes(64 * 1024)
_SAMPLE_EVERY_S = 0.1
_STREAMS = 1000


class _StreamingUpstream:
    """An upstream of long bodies: takes slowly at first, gives as fast as it may, and keeps logs open."""

    def __init__(self, size: int, pause_s: float) -> None:
        self._size = size
        self._pause_s = pause_s
        self.received = 0
        self.open_logs = 0
        self.port = 0
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        """Listen on a port of its own."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=2048)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End every connection."""
        self._server.close()
        for writer in self._open.values():
            writer.close()
        await asyncio.gather(*self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._open[task] = writer
            task.add_done_callback(self._open.pop)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"PUT"):
                    await self._take(reader)
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                elif b" /api/log" in head:
                    self.open_logs += 1
                    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n")
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self._size)
                    for _ in range(self._size // len(_CHUNK)):
                        writer.write(_CHUNK)
                        await writer.drain()
        writer.close()

    async def _take(self, reader: asyncio.StreamReader) -> None:
        self.received = 0
        while self.received < self._size:
            part = await reader.read(len(_CHUNK))
            if not part:
                return
            if not self.received:
                await asyncio.sleep(self._pause_s)
            self.received += len(part)


def streams(folder: Path, *, seconds: float, rounds: int) -> list[Row]:
    """Return the three P16; `seconds` is how long the slow end stands still, the bodies have 1 GiB from 2 s on."""
    del rounds
    size = 1024 * MIB if seconds >= 2 else 128 * MIB
    return asyncio.run(_streams(folder, size, seconds))


async def _streams(folder: Path, size: int, pause_s: float) -> list[Row]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A stream takes two descriptors here and two in the gateway, which inherits the limit.
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    upstream = _StreamingUpstream(size, pause_s)
    await upstream.start()
    try:
        with servers.gateway(folder, upstream.port, name="streaming") as gate:
            await _read_log(gate.port)
            await asyncio.sleep(0.5)
            idle = gate.pss_mib()
            up, up_wrong = await _peak(gate, _upload(gate.port, size, upstream))
            down, down_wrong = await _peak(gate, _download(gate.port, size, pause_s))
            logs, logs_wrong = await _peak(gate, _hold_logs(gate.port, upstream))
    finally:
        await upstream.stop()
    shown = f"{size // MIB} MiB; over {idle:.0f} MiB idle"
    return [
        at_most("P16a", "upload to an upstream that pauses: memory", 32, [up - idle], shown, up_wrong, "MiB"),
        at_most("P16b", "download by a slow reader: memory", 32, [down - idle], shown, down_wrong, "MiB"),
        at_most(
            "P16c", "1,000 idle log streams: memory", 64, [logs - idle], f"over {idle:.0f} MiB idle", logs_wrong, "MiB"
        ),
    ]


async def _peak(gate: Program, work: Awaitable[int]) -> tuple[float, int]:
    """Return the most memory that was seen while the work went on, and what the work returns."""
    task = asyncio.ensure_future(work)
    peak = 0.0
    while not task.done():
        peak = max(peak, await asyncio.to_thread(gate.pss_mib))
        await asyncio.wait([task], timeout=_SAMPLE_EVERY_S)
    return peak, task.result()


async def _upload(port: int, size: int, upstream: _StreamingUpstream) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_head("PUT", "/api/upload", {**_LOGIN, "Content-Length": str(size)}))
    for _ in range(size // len(_CHUNK)):
        writer.write(_CHUNK)
        await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return int(not head.startswith(b"HTTP/1.1 200") or upstream.received != size)


async def _download(port: int, size: int, pause_s: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_head("GET", "/api/download", _LOGIN))
    head = await reader.readuntil(b"\r\n\r\n")
    ends = time.monotonic() + pause_s
    received = 0
    while time.monotonic() < ends:
        received += len(await reader.read(16 * 1024))
        await asyncio.sleep(0.05)
    while received < size and (part := await reader.read(1024 * 1024)):
        received += len(part)
    writer.close()
    return int(not head.startswith(b"HTTP/1.1 200") or received != size)


async def _read_log(port: int) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_head("GET", "/api/log", _LOGIN))
    head = await reader.readuntil(b"begun\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise AssertionError(f"a log stream was answered {head[:40]!r}")
    return writer


async def _hold_logs(port: int, upstream: _StreamingUpstream) -> int:
    before = upstream.open_logs
    writers = [await _read_log(port) for _ in range(_STREAMS)]
    await asyncio.sleep(1)
    for writer in writers:
        writer.close()
    return _STREAMS - (upstream.open_logs - before)


def workers(folder: Path, *, seconds: float, rounds: int) -> list[Row]:
    """Return both P17: memory of one warm worker, and of each further one, the parent counted in."""
    first: list[float] = []
    further: list[float] = []
    wrong = 0
    with servers.upstream(folder) as upstream:
        for number in range(min(rounds, 3)):
            sizes: list[float] = []
            for count in (1, 3):
                with servers.gateway(folder, upstream.port, name=f"workers-{count}-{number}", workers=count) as gate:
                    expect(gate.port, servers.API, _LOGIN, 200, servers.BODY)
                    warm = load(Target("gate", servers.API, _LOGIN, gate, (gate,)), connections=32, seconds=seconds)
                    wrong += warm.wrong
                    sizes.append(gate.pss_mib())
            first.append(sizes[0])
            further.append((sizes[1] - sizes[0]) / 2)
    detail = "PSS after load on 32 connections"
    return [
        at_most("P17a", "memory of the first worker", 90, first, detail, wrong, "MiB"),
        at_most("P17b", "memory of each further worker", 40, further, detail, wrong, "MiB"),
    ]


def start(folder: Path, *, seconds: float, rounds: int) -> list[Row]:
    """Return P18: from the command to the first answer that needed a password, a token and the upstream."""
    del seconds
    times: list[float] = []
    with servers.upstream(folder) as upstream:
        servers.make_airflow_database(folder)
        for _ in range(rounds):
            began = time.monotonic()
            with servers.launched_gateway(folder, upstream.port) as gate:
                while True:
                    with suppress(OSError):
                        status, _ = ask(gate.port, servers.API, _LOGIN)
                        break
                    time.sleep(0.005)
                times.append(time.monotonic() - began)
            if status != 200:
                raise AssertionError(f"the first answer was {status}")
    what = "`compat-auth serve` to the first 200 from the upstream, password hash included"
    return [at_most("P18", what, 1.5, times, "", 0, "s")]

"""A TCP relay on loopback whose far side can be made slow: for peers that answer, but late."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

from support.peers.process import free_port

CHUNK: Final = 65536


class SlowLink:
    """The relay; runs on a thread of its own between `start` and `stop`.

    Attributes:
        port: Where it listens, on loopback.
        delay_s: Seconds for which each piece of an answer is held back.
    """

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self.delay_s = 0.0
        self._target = target_port
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"slow link to {target_port}")

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._listens.wait()

    def stop(self) -> None:
        """End all connections and the thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    @contextmanager
    def slow(self, delay_s: float) -> Generator[None]:
        """Hold each piece of an answer back for so long within the block."""
        self.delay_s = delay_s
        try:
            yield
        finally:
            self.delay_s = 0.0

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        self._listens.set()
        await self._stopped.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _relay(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            far, to_far = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            to_client.transport.abort()
            return
        ways = [
            asyncio.ensure_future(self._pass(client, to_far, is_answer=False)),
            asyncio.ensure_future(self._pass(far, to_client, is_answer=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            to_far.transport.abort()
            to_client.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_answer: bool) -> None:
        with suppress(OSError):
            while piece := await source.read(CHUNK):
                if is_answer and self.delay_s:
                    await asyncio.sleep(self.delay_s)
                sink.write(piece)
                await sink.drain()

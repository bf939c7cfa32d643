"""The echoing upstream, which ends some connections in the middle of its answer while a file exists.

    python upstream.py PORT SECRET FILE

While FILE exists, one answer in `ONE_IN` is cut in half and its connection reset.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final, cast

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.peers.echo_upstream import Echo  # found by the line above

ONE_IN: Final = 7
LOOK_S: Final = 0.2


class Cuts:
    """Whether answers are cut at the moment."""

    def __init__(self, asked_for: Path) -> None:
        self._asked_for = asked_for
        self._is_on = False
        self._answers = 0

    async def watch(self) -> None:
        """Look for the file until the process ends."""
        while True:
            self._is_on = self._asked_for.exists()
            await asyncio.sleep(LOOK_S)

    def cuts_next(self) -> bool:
        """Tell whether the next answer is to be cut."""
        self._answers += 1
        return self._is_on and self._answers % ONE_IN == 0


class _CuttingTransport:
    """Writes whole answers, or half of one and no more."""

    def __init__(self, transport: asyncio.WriteTransport, cuts: Cuts) -> None:
        self._transport = transport
        self._cuts = cuts

    def write(self, answer: bytes) -> None:
        """Send an answer."""
        if self._transport.is_closing():
            return
        if not self._cuts.cuts_next():
            self._transport.write(answer)
            return
        self._transport.write(answer[: len(answer) - 20])
        self._transport.close()


class CuttingEcho(Echo):
    """One connection."""

    def __init__(self, secret: str, cuts: Cuts) -> None:
        super().__init__(secret)
        self._cuts = cuts

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        cutting = _CuttingTransport(cast("asyncio.WriteTransport", transport), self._cuts)
        super().connection_made(cast("asyncio.BaseTransport", cutting))


async def serve(port: int, secret: str, asked_for: Path) -> None:
    """Serve on loopback until killed."""
    cuts = Cuts(asked_for)
    watching = asyncio.ensure_future(cuts.watch())
    server = await asyncio.get_running_loop().create_server(lambda: CuttingEcho(secret, cuts), "127.0.0.1", port)
    await server.serve_forever()
    await watching


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))

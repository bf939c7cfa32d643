"""Orders waiting work: its amount is bounded, and no caller can fill all places.

For the event loop's thread only. No I/O.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from compat_auth.errors import Overloaded


@dataclass(slots=True)
class _Line:
    """One client's work: running work holds the semaphore, and the rest waits for it."""

    places: asyncio.Semaphore
    present: int = 0


class FairQueue:
    """Grants turns by client.

    Args:
        places: Simultaneous turns, for all clients; one client gets at most three quarters of them.
        max_waiting: How many may wait, for all clients; one client gets at most half of them.

    Attributes:
        places: As given.
        present: How many run or wait now.
    """

    def __init__(self, places: int, max_waiting: int) -> None:
        self._places_each = max(1, places * 3 // 4)
        self._limit_each = self._places_each + max(1, max_waiting // 2)
        self._limit = places + max_waiting
        self.places = places
        self.present = 0
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def take(self, client: str) -> AsyncGenerator[None, None]:
        """Wait for a turn and hold it for the block.

        Raises:
            Overloaded: Too much work waits, in total or of this client.
        """
        line = self._lines.get(client)
        if self.present >= self._limit or (line is not None and line.present >= self._limit_each):
            raise Overloaded("too many requests wait for an authentication backend")
        if line is None:
            line = self._lines[client] = _Line(asyncio.Semaphore(self._places_each))
        self.present += 1
        line.present += 1
        try:
            async with line.places:
                yield
        finally:
            self.present -= 1
            line.present -= 1
            if not line.present:
                del self._lines[client]

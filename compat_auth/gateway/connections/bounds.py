"""Limits a worker's connections, in total and per address, and closes one to make room for another.

It closes only connections that wait for their client: first those idle between two requests, then those whose request
makes no progress. It never closes a connection whose request we are handling.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from compat_auth.concurrency.rate_limit import network_of

logger = logging.getLogger("compat_auth.server")

REPORT_EVERY_S = 10.0
# A client may be about to send its next request on a connection that has just become idle.
IDLE_S = 1.0
# A body on a bad network may pause for this long.
STALLED_S = 5.0
MAX_CONNECTIONS = 16_384
_MAX_LEAVING = 64


class Connection(Protocol):
    """A connection that can be closed to make room for another."""

    def make_room(self) -> None:
        """Close it, with an answer where one is due."""
        ...


@dataclass(slots=True)
class _Waiting:
    """Connections that wait for their client, with the time of its last activity; the oldest first."""

    idle: dict[Connection, float] = field(default_factory=dict[Connection, float])
    receiving: dict[Connection, float] = field(default_factory=dict[Connection, float])

    def oldest(self, now: float) -> Connection | None:
        """Return the connection to close, or None."""
        for held, least_s in ((self.idle, IDLE_S), (self.receiving, STALLED_S)):
            for connection, since in held.items():
                if now - since >= least_s:
                    return connection
                break
        return None

    def forget(self, connection: Connection) -> None:
        """Remove a connection."""
        self.idle.pop(connection, None)
        self.receiving.pop(connection, None)


def _none_exempt(_address: str) -> bool:
    return False


class ConnectionBounds:
    """The connections of one worker.

    Args:
        limit: Most connections in total.
        per_address: Most connections for one address, or one /64 of IPv6.
        is_exempt: Whether an address stands for many clients and has no limit of its own.
        now: A monotonic clock, in seconds.

    Attributes:
        stopping: The worker is closing its connections.
    """

    def __init__(
        self,
        limit: int = MAX_CONNECTIONS,
        per_address: int = MAX_CONNECTIONS,
        *,
        is_exempt: Callable[[str], bool] = _none_exempt,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stopping = False
        self._limit = limit
        self._per_address = per_address
        self._is_exempt = is_exempt
        self._now = now
        self._group_of: dict[Connection, str] = {}
        self._counts: Counter[str] = Counter()
        self._waiting = _Waiting()
        self._waiting_of: dict[str, _Waiting] = {}
        self._leaving: set[Connection] = set()
        self._report = _Report()

    def admit(self, connection: Connection, address: str) -> bool:
        """Count one more connection and return True, or return False if the limits do not allow it."""
        group = network_of(address)
        if self._counts[group] >= self._per_address and not self._is_exempt(address):
            if not self._make_room(self._waiting_of[group]):
                self._report.refused(group, f"{self._per_address} from one address")
                return False
            self._report.ended(group, f"{self._per_address} from one address")
        elif len(self._group_of) >= self._limit:
            if not self._make_room(self._waiting):
                self._report.refused(group, f"{self._limit} in all")
                return False
            self._report.ended(group, f"{self._limit} in all")
        self._group_of[connection] = group
        self._counts[group] += 1
        self._waiting_of.setdefault(group, _Waiting())
        self.receiving(connection)
        return True

    @property
    def present(self) -> int:
        """How many connections are open."""
        return len(self._group_of)

    def leave(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self._leaving.discard(connection)
        group = self._group_of.pop(connection, None)
        if group is None:
            return
        self._waiting.forget(connection)
        self._counts[group] -= 1
        if self._counts[group] > 0:
            self._waiting_of[group].forget(connection)
        else:
            del self._counts[group], self._waiting_of[group]

    def may_linger(self, connection: Connection) -> bool:
        """Return whether a rejected connection may stay open until its client has read why."""
        if len(self._leaving) >= _MAX_LEAVING:
            return False
        self._leaving.add(connection)
        return True

    def idle(self, connection: Connection) -> None:
        """Note that a connection waits for its client's next request."""
        self._note(connection, is_idle=True)

    def receiving(self, connection: Connection) -> None:
        """Note that a connection waits for the rest of a request and has just received some of it."""
        self._note(connection, is_idle=False)

    def working(self, connection: Connection) -> None:
        """Note that the client waits for us."""
        group = self._group_of.get(connection)
        if group is not None:
            self._waiting.forget(connection)
            self._waiting_of[group].forget(connection)

    def _note(self, connection: Connection, *, is_idle: bool) -> None:
        group = self._group_of.get(connection)
        if group is None:
            return
        now = self._now()
        for waiting in (self._waiting, self._waiting_of[group]):
            waiting.forget(connection)
            (waiting.idle if is_idle else waiting.receiving)[connection] = now

    def _make_room(self, waiting: _Waiting) -> bool:
        connection = waiting.oldest(self._now())
        if connection is None:
            return False
        # Before it closes: its last bytes may take a while, and it must not be chosen twice.
        self.leave(connection)
        connection.make_room()
        return True


class _Report:
    """Logs that a limit is reached: at once, then at most every ten seconds, with counts."""

    def __init__(self) -> None:
        self._refused: Counter[str] = Counter()
        self._ended = 0
        self._bound = ""
        self._timer: asyncio.TimerHandle | None = None

    def refused(self, group: str, bound: str) -> None:
        """Count a rejected connection."""
        self._refused[group if group in self._refused or len(self._refused) < MAX_CONNECTIONS else "others"] += 1
        self._say_soon(bound)

    def ended(self, _group: str, bound: str) -> None:
        """Count a connection that was closed to make room."""
        self._ended += 1
        self._say_soon(bound)

    def _say_soon(self, bound: str) -> None:
        self._bound = bound
        if self._timer is None:
            self._say()
            self._timer = asyncio.get_running_loop().call_later(REPORT_EVERY_S, self._say_again)

    def _say_again(self) -> None:
        self._timer = None
        if self._refused or self._ended:
            self._say_soon(self._bound)

    def _say(self) -> None:
        most = f", most of them from {self._refused.most_common(1)[0][0]}" if self._refused else ""
        logger.warning(
            "this worker has reached its limit of connections (%s): %d refused%s, %d waiting for their client closed; "
            "see serve.max_connections, serve.max_connections_per_address and the limit of open files",
            self._bound, sum(self._refused.values()), most, self._ended,
        )  # fmt: skip
        self._refused.clear()
        self._ended = 0

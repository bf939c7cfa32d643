"""How many connections a worker holds, in all and for one address, and which of them makes room for another.

A connection makes room when the client is to blame that nothing happens on it: first one that is idle between two requests,
then one whose request does not come in. One whose request we work on is never ended.
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
# A body that comes over a bad line may pause for as long.
STALLED_S = 5.0
MAX_CONNECTIONS = 16_384
_MAX_LEAVING = 64


class Connection(Protocol):
    """One that can be ended to make room for another."""

    def make_room(self) -> None:
        """End it, with an answer where one is due."""
        ...


@dataclass(slots=True)
class _Waiting:
    """Connections that wait for their client, with the time of its last sign; the oldest first."""

    idle: dict[Connection, float] = field(default_factory=dict[Connection, float])
    receiving: dict[Connection, float] = field(default_factory=dict[Connection, float])

    def oldest(self, now: float) -> Connection | None:
        """Return the one that makes room."""
        for held, least_s in ((self.idle, IDLE_S), (self.receiving, STALLED_S)):
            for connection, since in held.items():
                if now - since >= least_s:
                    return connection
                break
        return None

    def forget(self, connection: Connection) -> None:
        """Take out a connection."""
        self.idle.pop(connection, None)
        self.receiving.pop(connection, None)


def _is_nobody(_address: str) -> bool:
    return False


class ConnectionBounds:
    """The connections of one worker.

    Args:
        limit: In all.
        per_address: For one address, or one /64 of IPv6.
        is_exempt: Tells the addresses that stand for many clients, and have no bound of their own.
        now: A monotonic clock, in seconds.

    Attributes:
        stopping: The worker takes leave of its clients.
    """

    def __init__(
        self,
        limit: int = MAX_CONNECTIONS,
        per_address: int = MAX_CONNECTIONS,
        *,
        is_exempt: Callable[[str], bool] = _is_nobody,
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
        """Return whether the worker may hold one more connection, which is then counted."""
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

    def leave(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
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
        """Return whether a connection that was refused may stay until its client has read why."""
        if len(self._leaving) >= _MAX_LEAVING:
            return False
        self._leaving.add(connection)
        return True

    def idle(self, connection: Connection) -> None:
        """Note that a connection waits for its client's next request."""
        self._note(connection, is_idle=True)

    def receiving(self, connection: Connection) -> None:
        """Note that a connection waits for more of a request, of which something has just come in."""
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
        # Before it ends: its last bytes may take a while, and it must not be chosen twice.
        self.leave(connection)
        connection.make_room()
        return True


class _Report:
    """Says in the log that a bound is reached: at once, and then at most every ten seconds, with counts."""

    def __init__(self) -> None:
        self._refused: Counter[str] = Counter()
        self._ended = 0
        self._bound = ""
        self._timer: asyncio.TimerHandle | None = None

    def refused(self, group: str, bound: str) -> None:
        """Count a connection that was refused."""
        self._refused[group if group in self._refused or len(self._refused) < MAX_CONNECTIONS else "others"] += 1
        self._say_soon(bound)

    def ended(self, _group: str, bound: str) -> None:
        """Count a connection that made room."""
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
            "this worker holds as many connections as it may (%s): %d refused%s, %d that waited for their client ended; "
            "see serve.max_connections, serve.max_connections_per_address and the limit of open files",
            self._bound, sum(self._refused.values()), most, self._ended,
        )  # fmt: skip
        self._refused.clear()
        self._ended = 0

"""A limited number of open connections to one of several servers, the first that can be reached."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from compat_auth.errors import BackendUnavailable, Overloaded
from compat_auth.resilience import CircuitBreaker

C = TypeVar("C")
T = TypeVar("T")

MAX_IDLE_S = 60.0  # firewalls forget a silent connection after minutes, and the next question would hang
MAX_AGE_S = 600.0  # so that everybody returns to a preferred server that is there again
ALONE_PAUSE_S = 1.0  # how long a server that failed is left alone when there is no other
REPLACED_PAUSE_S = 15.0  # the same, when another one answers


class Lost(Exception):
    """The server could not be reached, the connection to it broke, or it does not answer."""


class Silent(Lost):
    """The server received the request and has not answered in time; nor will it answer on another connection."""


@dataclass(slots=True)
class Kept(Generic[C]):
    """A connection, and the facts that decide whether it can be used again."""

    server: str
    connection: C = field(repr=False)
    made_at: float
    used_at: float
    fresh: bool = True


class Servers:
    """Chooses one of several servers: in the configured order, recently failed ones last or not at all.

    All pools and directories of a process share it, so that all learn from one failure.
    """

    def __init__(self, names: tuple[str, ...], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.outage = CircuitBreaker(monotonic)
        self._names = names
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failed_at: dict[str, float] = {}

    @classmethod
    def of(cls, names: tuple[str, ...]) -> Servers:
        """Return the state that this process keeps of the servers of these names."""
        with _SHARING:
            found = _SHARED.get(names)
            if found is None:
                found = _SHARED[names] = cls(names)
            return found

    @property
    def count(self) -> int:
        """How many servers there are."""
        return len(self._names)

    def choose(self, tried: Collection[str]) -> str | None:
        """Return the server to try now, except those just tried; None if all have failed a moment ago.

        Only one caller gets a server whose pause is over: if it still hangs, one thread waits for it, not all.
        """
        with self._lock:
            now = self._monotonic()
            all_failed = len(self._failed_at) == len(self._names)
            pause_s = ALONE_PAUSE_S if all_failed else REPLACED_PAUSE_S
            for name in self._names:
                if name in tried:
                    continue
                if name not in self._failed_at:
                    return name
                if now - self._failed_at[name] >= pause_s:
                    self._failed_at[name] = now
                    return name
            return None

    def failed(self, name: str) -> None:
        """Remember that the server failed."""
        with self._lock:
            self._failed_at[name] = self._monotonic()

    def has_failed(self, name: str) -> bool:
        """Return whether the server failed when it was last asked, by any caller."""
        with self._lock:
            return name in self._failed_at

    def worked(self, name: str) -> None:
        """Remember that the server answers."""
        with self._lock:
            self._failed_at.pop(name, None)


class ConnectionPool(Generic[C]):
    """At most `size` connections, made at first use by the process that uses them.

    Args:
        servers: Which server to ask.
        connect: Returns a connection to the server of that name, or raises Lost.
        disconnect: Closes one; must not raise.
        size: Most connections at once.
        wait_s: How long a caller waits for a connection.
        label: The pool's name in messages.
    """

    def __init__(
        self,
        servers: Servers,
        connect: Callable[[str], C],
        disconnect: Callable[[C], None],
        *,
        size: int,
        wait_s: float,
        label: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._servers = servers
        self._connect = connect
        self._disconnect = disconnect
        self._size = size
        self._wait_s = wait_s
        self._label = label
        self._monotonic = monotonic
        self._idle: list[Kept[C]] = []
        self._inherited: list[Kept[C]] = []
        self._start_afresh()

    def run(self, ask: Callable[[C], T]) -> T:
        """Return the result of `ask` for a connection that works.

        A broken open connection is replaced; if the server fails on a new one, the next server is tried. So `ask` may
        run several times.

        Args:
            ask: Raises Lost if another connection or server may help; after any other error the
                connection is not used again.

        Raises:
            BackendUnavailable: No server answered.
            Overloaded: No connection became free, or others wait for a server that does not answer.
        """
        try:
            with self._servers.outage.trying():
                return self._run(ask)
        except ConnectionError as exc:
            raise Overloaded(f"{self._label}: {exc}") from exc

    def _run(self, ask: Callable[[C], T]) -> T:
        with self._slot():
            # Each server may be lost twice: on a kept connection, and on a new one.
            reason = ""
            for _ in range(2 * self._servers.count):
                kept = self._take()
                try:
                    answer = ask(kept.connection)
                except Lost as exc:
                    self._drop_server(kept)
                    reason = f"{kept.server} ({exc})"
                    if kept.fresh or isinstance(exc, Silent):
                        self._servers.failed(kept.server)
                    continue
                except BaseException:
                    self._disconnect(kept.connection)
                    raise
                self._give_back(kept)
                return answer
        raise BackendUnavailable(f"{self._label}: no server answered; the last was {reason}")

    @contextlib.contextmanager
    def _slot(self) -> Generator[None, None, None]:
        if self._pid != os.getpid():
            self._start_afresh()
        free = self._free
        if not free.acquire(timeout=self._wait_s):
            raise Overloaded(f"{self._label}: all {self._size} connections were in use for {self._wait_s:g} s")
        try:
            yield
        finally:
            free.release()

    def _take(self) -> Kept[C]:
        while True:
            with self._lock:
                kept = self._idle.pop() if self._idle else None
            if kept is None:
                return self._open()
            now = self._monotonic()
            is_young = now - kept.used_at < MAX_IDLE_S and now - kept.made_at < MAX_AGE_S
            # Another pool may have found out that the server is away: what is kept to it went with it.
            if is_young and not self._servers.has_failed(kept.server):
                kept.fresh = False
                return kept
            self._disconnect(kept.connection)

    def _give_back(self, kept: Kept[C]) -> None:
        self._servers.worked(kept.server)
        kept.used_at = self._monotonic()
        with self._lock:
            self._idle.append(kept)

    def _drop_server(self, kept: Kept[C]) -> None:
        """Close a broken connection, and with it all idle ones to the same server, which broke with it."""
        with self._lock:
            broken = [other for other in self._idle if other.server == kept.server]
            self._idle = [other for other in self._idle if other.server != kept.server]
        for one in (kept, *broken):
            self._disconnect(one.connection)

    def close(self) -> None:
        """Close the idle connections; the next caller opens a new connection."""
        with self._lock:
            idle, self._idle = self._idle, []
        for kept in idle:
            self._disconnect(kept.connection)

    def _open(self) -> Kept[C]:
        tried: dict[str, str] = {}
        while (server := self._servers.choose(tried)) is not None:
            try:
                connection = self._connect(server)
            except Lost as exc:
                self._servers.failed(server)
                tried[server] = str(exc)
                continue
            self._servers.worked(server)
            now = self._monotonic()
            return Kept(server, connection, now, now)
        why = "; ".join(f"{server}: {reason}" for server, reason in tried.items())
        raise BackendUnavailable(f"{self._label}: no server can be reached ({why or 'tried a moment ago'})")

    def _start_afresh(self) -> None:
        # Kept for ever: to close one would say good-bye on the connection of the process that we were forked from.
        self._inherited += self._idle
        self._idle = []
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(self._size)


_SHARING = threading.Lock()
_SHARED: weakref.WeakValueDictionary[tuple[str, ...], Servers] = weakref.WeakValueDictionary()

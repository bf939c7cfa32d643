"""A circuit breaker for a server that is unavailable or does not answer: one caller waits for it, the others do not."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager

PAUSE_S = 1.0
# A server that answers nobody for so long is taken for silent: later callers are refused at once.
PATIENCE_S = 2.0
# How much longer than the slowest answer of late the next one may take, before it counts as missing.
_SLACK = 1.5
# A login that failed slowly once fails slowly again: the delay after a wrong password is the server's setting.
_REMEMBERED_S = 600.0
# Half of the threads that the chain has by default: the other half is for requests that need no such server.
MAX_CALLERS = 8


class CircuitBreaker:
    """Remembers that a server is unavailable. Any thread may use it.

    Args:
        monotonic: Clock, in seconds.
        patience_s: When a caller has waited for this long and nobody has got an answer since, no other caller joins it.
            If eight wait already, half of it is enough. A server that has recently taken longer for an answer,
            such as one that delays the refusal of a wrong password, gets one and a half times that answer's time.
    """

    _again_at: float | None
    _is_tried: bool
    _answered_at: float
    _slowest: tuple[float, float]
    _waiting: dict[object, float]

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, *, patience_s: float = PATIENCE_S) -> None:
        self._monotonic = monotonic
        self._patience_s = patience_s
        self._start_afresh()

    @classmethod
    def of(cls, server: str) -> CircuitBreaker:
        """Return the one circuit breaker that this process has for a server.

        Args:
            server: Identifies the server, such as host, port and database.
        """
        with _SHARING:
            found = _SHARED.get(server)
            if found is None:
                found = _SHARED[server] = cls()
            return found

    @contextmanager
    def trying(self) -> Generator[None]:
        """Let the block ask the server; it counts as unavailable when the block raises OSError.

        Raises:
            ConnectionError: It did not answer a moment ago and another caller finds out whether it does now, or others
                wait for its answer.
        """
        if self._pid != os.getpid():
            self._start_afresh()
        call = object()
        was_away = self._enter(call)
        try:
            yield
        except OSError:
            self._leave(call, was_away, again_at=self._monotonic() + PAUSE_S)
            raise
        except BaseException:
            # Whatever it was, it says nothing about the server.
            self._leave(call, was_away, again_at=self._again_at)
            raise
        self._leave(call, was_away, again_at=None)

    def _enter(self, call: object) -> bool:
        with self._lock:
            now = self._monotonic()
            was_away = self._again_at is not None
            if self._again_at is None:
                self._require_answers(now)
            elif self._is_tried or now < self._again_at:
                raise ConnectionError("away a moment ago")
            self._is_tried = was_away
            self._waiting[call] = now
            return was_away

    def _require_answers(self, now: float) -> None:
        if not self._waiting:
            return
        silent_s = now - max(min(self._waiting.values()), self._answered_at)
        patience_s = self._patience_s / (2 if len(self._waiting) >= MAX_CALLERS else 1)
        if silent_s >= max(patience_s, _SLACK * self._slowest_s(now)):
            raise ConnectionError(f"silent for {silent_s:.1f} s, and others wait for it")

    def _leave(self, call: object, was_away: bool, *, again_at: float | None) -> None:
        with self._lock:
            began, now = self._waiting.pop(call), self._monotonic()
            if again_at is None:
                self._answered_at = now
                self._remember(now - began, now)
            self._again_at = again_at
            if was_away:
                self._is_tried = False

    def _remember(self, took_s: float, now: float) -> None:
        slowest_s = self._slowest_s(now)
        if _SLACK * took_s >= slowest_s:
            self._slowest = max(took_s, slowest_s), now

    def _slowest_s(self, now: float) -> float:
        """Return how long the slowest recent answer has taken; 0 if none is known."""
        took_s, at = self._slowest
        return took_s if now - at < _REMEMBERED_S else 0.0

    def _start_afresh(self) -> None:
        # No caller of the process that we were forked from waits in this one, and a lock that it held would never open.
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._again_at = None
        self._is_tried = False
        self._answered_at = float("-inf")
        self._slowest = 0.0, float("-inf")
        self._waiting = {}


_SHARING = threading.Lock()
_SHARED: weakref.WeakValueDictionary[str, CircuitBreaker] = weakref.WeakValueDictionary()

"""A server that cannot be reached: whoever would ask it next need not wait until that is found out once more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

PAUSE_S = 1.0


class Outage:
    """Remembers that a server is away. Any thread may use it.

    Args:
        monotonic: Clock, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._again_at: float | None = None
        self._is_tried = False

    @contextmanager
    def trying(self) -> Generator[None]:
        """Give the block a try at reaching the server; it is away when the block raises OSError.

        Raises:
            ConnectionError: It was away a moment ago, or somebody else is trying whether it still is.
        """
        was_away = self._take_try()
        try:
            yield
        except OSError:
            self._end_try(was_away, again_at=self._monotonic() + PAUSE_S)
            raise
        except BaseException:
            # Whatever it was, it says nothing about the server.
            self._end_try(was_away, again_at=self._again_at)
            raise
        self._end_try(was_away, again_at=None)

    def _take_try(self) -> bool:
        with self._lock:
            if self._again_at is None:
                return False
            if self._is_tried or self._monotonic() < self._again_at:
                raise ConnectionError("away a moment ago")
            self._is_tried = True
            return True

    def _end_try(self, was_away: bool, *, again_at: float | None) -> None:
        with self._lock:
            self._again_at = again_at
            if was_away:
                self._is_tried = False

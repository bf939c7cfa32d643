"""Readiness of the store: whether it accepts writes, for a load balancer that asks often."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from compat_auth.errors import BackendUnavailable, CompatAuthError
from compat_auth.store.tables.denylist import DenylistRows

# An answer is cached for this long, because a write for each question would be a load of its own.
_PAUSE_S = 2.0
ANSWER_S = 3.0
_log = logging.getLogger("compat_auth.store")


class StoreReadiness:
    """Checks the store, at most every two seconds and once at a time; for one event loop.

    Args:
        rows: A table of the store.
        monotonic: Clock, in seconds.
        answer_s: Seconds after which a store that does not answer counts as unavailable.
    """

    def __init__(
        self, rows: DenylistRows, *, monotonic: Callable[[], float] = time.monotonic, answer_s: float = ANSWER_S
    ) -> None:
        self._rows = rows
        self._monotonic = monotonic
        self._answer_s = answer_s
        self._asking: asyncio.Task[None] | None = None
        self._began = 0.0
        self._is_away = False

    async def require(self) -> None:
        """Wait until the store has accepted a write, or raise; a store that nothing has used yet is ready.

        Raises:
            CompatAuthError: The store is missing, refuses writes, or does not answer.
        """
        asking = self._asking
        if asking is None or (asking.done() and self._monotonic() - self._began >= _PAUSE_S):
            self._began = self._monotonic()
            asking = self._asking = asyncio.ensure_future(asyncio.to_thread(self._ask))
            asking.add_done_callback(_retrieve)
        try:
            await asyncio.wait_for(asyncio.shield(asking), self._answer_s)
        except TimeoutError:
            error = BackendUnavailable(f"database_url: no answer within {self._answer_s:g} s")
            self._note(error)
            raise error from None
        except CompatAuthError as error:
            self._note(error)
            raise
        self._note(None)

    def _ask(self) -> None:
        # A store that never existed has nothing to lose; the first write creates it.
        if self._rows.is_there:
            self._rows.require_writable()

    def _note(self, error: CompatAuthError | None) -> None:
        if self._is_away != (error is not None):
            self._is_away = error is not None
            if error is not None:
                _log.warning("not ready: %s", error)
            else:
                _log.warning("ready: the store accepts writes again")


def _retrieve(asking: asyncio.Task[None]) -> None:
    if not asking.cancelled():
        # Waiting callers get the error; without any, asyncio would log that nobody retrieved it.
        asking.exception()

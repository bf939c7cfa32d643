"""Can the store be used? Asked for the page `ready`, by one thread at a time, however many ask and whatever it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable
from compat_auth.store.migration import open_store

# Probes of load balancers and of Kubernetes give up after a few seconds.
ANSWER_S = 3.0


class StoreCheck:
    """Asks the store; for one event loop.

    Args:
        check: Returns, or raises BackendUnavailable.
        answer_s: Seconds after which no caller waits any longer.
    """

    def __init__(self, check: Callable[[], None], *, answer_s: float = ANSWER_S) -> None:
        self._check = check
        self._answer_s = answer_s
        self._asking: asyncio.Future[None] | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> StoreCheck:
        """Return the check of `database_url`; it is opened at first use.

        Raises:
            ConfigError: The URL cannot work.
        """
        database = open_store(settings.database_url.get_secret_value())

        def check() -> None:
            # What nobody has written anything to need not be there.
            if database.is_there:
                with database.read():
                    return

        return cls(check)

    async def require(self) -> None:
        """Return when the store answers, and its tables are fit for this program.

        Raises:
            BackendUnavailable: It does not, or not in time, or they are not.
        """
        if self._asking is None:
            self._asking = asyncio.ensure_future(asyncio.to_thread(self._check))
            self._asking.add_done_callback(self._end)
        try:
            await asyncio.wait_for(asyncio.shield(self._asking), self._answer_s)
        except asyncio.TimeoutError:
            raise BackendUnavailable(f"database_url: no answer within {self._answer_s:g} s") from None

    def _end(self, asking: asyncio.Future[None]) -> None:
        self._asking = None
        if not asking.cancelled():
            # Whoever still waits gets it; where nobody does any more, nobody needs it.
            asking.exception()

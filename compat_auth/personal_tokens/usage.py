"""Usage of personal tokens, counted in memory and stored from time to time: no request waits for a write.

A crash loses counts since the last write, never a revocation.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from datetime import date

from compat_auth.concurrency.background import PeriodicTask
from compat_auth.errors import CompatAuthError
from compat_auth.store.schema import ADDRESS_LENGTH, AGENT_LENGTH
from compat_auth.store.tables.token_uses import LAST_USED_PAUSE_S, LastUse, TokenUsageRows

FLUSH_S = 10.0
DAY_S = 86400
# While the database is down, usage of up to this many tokens is kept in memory.
_MAX_PENDING = 10_000
_EPOCH = date(1970, 1, 1).toordinal()
_log = logging.getLogger("compat_auth.token_uses")


class TokenUsage:
    """Usage in this process that is not stored yet. Any thread may use it.

    Args:
        rows: The table of usage.
        now: Seconds since the epoch.
        flush_s: Seconds between writes.

    Attributes:
        rows: The table of usage.
    """

    def __init__(self, rows: TokenUsageRows, *, now: Callable[[], float] = time.time, flush_s: float = FLUSH_S) -> None:
        self.rows = rows
        self._now = now
        self._flushing = PeriodicTask(self.flush, pause_s=flush_s, name="compat-auth-token-uses")
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, int]] = Counter()
        self._last: dict[str, LastUse] = {}
        self._written: dict[str, int] = {}
        atexit.register(_flush_at_exit, weakref.ref(self))

    def count(self, token_id: str) -> None:
        """Count one use."""
        with self._lock:
            key = (token_id, int(self._now()) // DAY_S)
            if key in self._counts or len(self._counts) < _MAX_PENDING:
                self._counts[key] += 1
        self._flushing.ensure()

    def see(self, token_id: str, last_used: int | None, *, address: str, agent: str) -> None:
        """Remember a use with its details, unless the last one was less than five minutes ago.

        Args:
            token_id: The token's id.
            last_used: When the token was last used, according to the store.
            address: Address of the client.
            agent: User-Agent of the client; control characters are removed.
        """
        now = int(self._now())
        with self._lock:
            written = max(last_used or 0, self._written.get(token_id, 0))
            if now - written < LAST_USED_PAUSE_S or len(self._last) >= _MAX_PENDING:
                return
            self._written[token_id] = now
            if len(self._written) > _MAX_PENDING:
                self._written = {one: at for one, at in self._written.items() if now - at < LAST_USED_PAUSE_S}
            shown = "".join(letter for letter in agent if letter.isprintable())
            self._last[token_id] = LastUse(token_id, now, address[:ADDRESS_LENGTH], shown[:AGENT_LENGTH])

    def by_day(self, token_id: str) -> dict[str, int]:
        """Return how often a token was used on each of the last 30 days (UTC) with any use, oldest first."""
        today = int(self._now()) // DAY_S
        found = self.rows.of(token_id, since_day=today - 29)
        return {date.fromordinal(_EPOCH + day).isoformat(): uses for day, uses in found.items()}

    def flush(self) -> None:
        """Store what is pending; it stays pending while the database cannot be asked."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            last, self._last = self._last, {}
        if not counts and not last:
            return
        try:
            self.rows.write(counts, last.values())
        except CompatAuthError as error:
            _log.warning("usage of personal tokens is not stored yet: %s", error)
            with self._lock:
                self._counts.update(counts)
                self._last = {**last, **self._last}


def _flush_at_exit(uses: weakref.ref[TokenUsage]) -> None:
    found = uses()
    if found is not None:
        found.flush()

"""The rules of the store, in memory: at most a second old, and the last known ones while the store is unavailable."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from compat_auth.concurrency.background import PeriodicTask
from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable
from compat_auth.stages.choice import RuleSet
from compat_auth.stages.stored import rule_of
from compat_auth.store.migration import open_store
from compat_auth.store.tables.stage_rules import StageRuleRows

# A change is known in every process within a second, with the time that the read takes.
PAUSE_S = 0.5
# So long a request waits for another one that reads the rules for the first time.
FIRST_WAIT_S = 2.0
_log = logging.getLogger("compat_auth.stages")


class StageMemory:
    """The rules. Any thread may use it.

    Args:
        rows: The store.
        monotonic: Clock, in seconds.
    """

    def __init__(self, rows: StageRuleRows, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rows = rows
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: RuleSet | None = None
        self._mark: tuple[int, int] | None = None
        self._read_at = float("-inf")
        self._is_away = False
        self._is_closed = False
        self._periodic = PeriodicTask(self.refresh, pause_s=PAUSE_S, name="compat-auth-stages")

    @classmethod
    def from_settings(cls, settings: Settings) -> StageMemory:
        """Return the rules in `database_url`; the store is opened at first use.

        Raises:
            ConfigError: The URL cannot work.
        """
        return cls(StageRuleRows(open_store(settings.database_url.get_secret_value())))

    def open(self) -> None:
        """Read the rules in the background from now on."""
        self._is_closed = False
        self._periodic.hurry()

    def close(self) -> None:
        """Read nothing more in the background."""
        self._is_closed = True

    def peek(self) -> RuleSet | None:
        """Return the rules, kept up to date in the background; None: they were never read. Never waits."""
        self._periodic.ensure()
        return self._known

    def current(self) -> RuleSet:
        """Return the rules; reads the store where nobody has done so for a while. Waits.

        Raises:
            BackendUnavailable: The store could not be asked, and never was before.
        """
        known = self._known
        if known is not None and self._monotonic() - self._read_at < PAUSE_S:
            return known
        # Who finds another one reading goes on with the known rules.
        if not self._lock.acquire(timeout=FIRST_WAIT_S if known is None else 0):
            if known is None:
                raise BackendUnavailable("the stages are still being read for the first time")
            return known
        try:
            return self._read()
        finally:
            self._lock.release()

    def refresh(self) -> None:
        """Read the store, if it can be asked."""
        if self._is_closed:
            return
        with self._lock, contextlib.suppress(BackendUnavailable):
            self._read()

    def _read(self) -> RuleSet:
        try:
            if not self._rows.is_there:
                # There has never been a store, so nobody has changed a stage.
                self._known = self._known or RuleSet()
                found = None
            else:
                found = self._read_rows()
        except BackendUnavailable as error:
            self._read_at = self._monotonic()
            if not self._is_away:
                self._is_away = True
                _log.warning("changes of stages are not known until the store can be asked again: %s", error)
            if self._known is None:
                raise
            # What was switched off stays off, and a store that is away must not refuse everybody else.
            return self._known
        self._read_at, self._is_away = self._monotonic(), False
        if found is not None:
            self._mark, self._known = found
        assert self._known is not None  # noqa: S101  # without a mark, everything was read
        return self._known

    def _read_rows(self) -> tuple[tuple[int, int], RuleSet] | None:
        found = self._rows.read(self._mark)
        return None if found is None else (found[0], RuleSet(map(rule_of, found[1])))

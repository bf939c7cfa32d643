"""Counts requests in memory, and stores the sums from time to time: no request waits for a write.

A crash loses what was counted since the last write. A store that is unavailable costs details at the worst: beyond a number of
different sums, further ones are added up without them, and a metric says how many requests that concerns.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from itertools import islice
from typing import Final

from flask import Flask

from compat_auth.concurrency.background import PeriodicTask
from compat_auth.config import Settings
from compat_auth.errors import CompatAuthError
from compat_auth.identity import Identity
from compat_auth.store.migration import open_store
from compat_auth.store.tables.usage import DAY_S, UsageKey, UsageRow, UsageRows, UsageSums
from compat_auth.telemetry import counts
from compat_auth.usage.clients import OTHER, UNKNOWN, Clients
from compat_auth.usage.networks import Networks
from compat_auth.usage.operations import FOLDED, LANE, family_of, operation_of

logger = logging.getLogger("compat_auth.usage")

UPSTREAM: Final = "upstream"
"""In place of a backend: a token that only the upstream checks."""
MAX_PENDING: Final = 20_000
"""Different sums that one process keeps until they are stored; while the store is unavailable, up to twice as many."""
_MAX_NAME_BYTES: Final = 512
_CHUNK: Final = 2_000
_EXTENSION = "compat_auth_usage"
# Positions in a sum.
_COUNT, _ERRORS, _FIRST, _LAST = range(4)
_Sums = dict[UsageKey, list[int]]
_API: Final = ("/api/v1/", "/api/v2/")
_REFUSED: Final = (401, 403)
_ERROR: Final = 400


class UsageRecorder:
    """The usage that this process has counted and not stored yet. Any thread may use it.

    Args:
        rows: The table.
        flush_s: Seconds between writes.
        retention_days: Days after which rows are deleted.
        max_pending: See MAX_PENDING.
        now: Seconds since the epoch.

    Attributes:
        rows: The table.
        folded: Requests that were counted without their details.
    """

    def __init__(
        self,
        rows: UsageRows,
        *,
        flush_s: float = 10.0,
        retention_days: int = 730,
        max_pending: int = MAX_PENDING,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.rows = rows
        self.folded = 0
        self._retention_days = retention_days
        self._max_pending = max_pending
        self._now = now
        self._flushing = PeriodicTask(self.flush, pause_s=flush_s, name="compat-auth-usage")
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._pending: _Sums = {}
        # Only the thread that writes changes these, so that no request waits while it does.
        self._unstored: _Sums = {}
        self._names: dict[str, str] = {}
        self._clients = Clients()
        self._networks = Networks()
        self._is_failing = False
        self._said_folded = 0
        self._pruned_on = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> UsageRecorder | None:
        """Return the recorder; None where `[usage]` is off or there is no store."""
        section, url = settings.usage, settings.database_url.get_secret_value()
        if not section.enabled or not url:
            return None
        rows = UsageRows(open_store(url))
        return cls(rows, flush_s=section.flush_s, retention_days=section.retention_days)

    def count(
        self,
        method: str,
        path: str,
        *,
        identity: Identity | None,
        agent: bytes = b"",
        address: str = "",
        is_refused: bool = False,
        is_error: bool = False,
    ) -> None:
        """Count one request of a known user, or of nobody whom a backend knows.

        Args:
            method: Upper case.
            path: Canonical path.
            identity: The caller; None: unknown, and then neither address nor exact operation are kept.
            agent: Value of its User-Agent.
            address: Its address.
            is_refused: Whether it was refused by compat_auth.
            is_error: Whether its answer has a status of 400 or above, or there was none.
        """
        if identity is None:
            client = self._clients.name_of(agent, is_trusted=False)
            self._add("", "", client, "", family_of(method, path), is_refused=is_refused, is_error=is_error)
            return
        self._add(
            self._caller(identity),
            identity.backend,
            self._clients.name_of(agent, is_trusted=True),
            self._networks.name_of(address),
            operation_of(method, path),
            is_refused=is_refused,
            is_error=is_error,
        )

    def count_upstreams(self, method: str, path: str, *, status: int | None, agent: bytes = b"") -> None:
        """Count one request with a token that only the upstream checks: nobody here knows whose it is.

        Anybody can make up such a token. So only a request to the API that the upstream has answered keeps its operation.

        Args:
            method: Upper case.
            path: Canonical path.
            status: Status of the upstream's answer; 0: there was none. None: a front proxy gets it.
            agent: Value of its User-Agent.
        """
        is_refused = status in _REFUSED
        client = OTHER if is_refused else self._clients.name_of(agent, is_trusted=False)
        is_error = status is not None and (status >= _ERROR or not status)
        operation = family_of(method, path)
        if status is not None and not is_error and operation.endswith(_API):
            operation = operation_of(method, path)
        self._add("", UPSTREAM, client, "", operation, is_refused=is_refused, is_error=is_error)

    def count_lane(self, identity: Identity | None, address: str) -> None:
        """Count one second in which a front proxy uses a credential; identity None: one that only the upstream checks."""
        if identity is None:
            self._add("", UPSTREAM, UNKNOWN, "", LANE, is_refused=False, is_error=False)
            return
        name, network = self._caller(identity), self._networks.name_of(address)
        self._add(name, identity.backend, UNKNOWN, network, LANE, is_refused=False, is_error=False)

    def _add(
        self,
        principal: str,
        backend: str,
        client: str,
        network: str,
        operation: str,
        *,
        is_refused: bool,
        is_error: bool,
    ) -> None:
        now = int(self._now())
        outcome = "refused" if is_refused else "granted"
        key = UsageKey(now // DAY_S, principal, backend, client, network, operation, outcome)
        with self._lock:
            sums = self._pending.get(key)
            if sums is None:
                sums = self._new(key, now)
            sums[_COUNT] += 1
            sums[_LAST] = now
            if is_error:
                sums[_ERRORS] += 1

    def _new(self, key: UsageKey, now: int) -> list[int]:
        if len(self._pending) >= self._max_pending:
            key = _folded(key)
            self.folded += 1
            counts.usage_folded.add()
        return self._pending.setdefault(key, [0, 0, now, now])

    def _caller(self, identity: Identity) -> str:
        # As the stages do: who acts for another user uses a login of its own.
        return self._name_of(identity.actor or identity.username)

    def _name_of(self, username: str) -> str:
        """Return a name that both databases can store, and that fits into an index."""
        found = self._names.get(username)
        if found is None:
            if len(self._names) >= self._max_pending:
                self._names = {}
            found = self._names[username] = storable_name(username)
        return found

    def open(self) -> None:
        """Store the sums from time to time from now on."""
        self._flushing.ensure()

    def flush(self) -> None:
        """Store what is pending; it stays pending while the store cannot be asked, or has never been made."""
        with self._writing:
            if not self.rows.is_there:
                return
            self._prune()
            self._store()

    def _store(self) -> None:
        with self._lock:
            taken, self._pending = self._pending, {}
        self._merge(taken)
        is_failing = False
        while self._unstored:
            rows: list[UsageRow] = [(key, UsageSums(*sums)) for key, sums in islice(self._unstored.items(), _CHUNK)]
            try:
                self.rows.add(rows)
            except CompatAuthError as error:
                if not self._is_failing:
                    logger.warning("usage: not stored yet: %s", error)
                is_failing = True
                break
            for key, _ in rows:
                del self._unstored[key]
        self._is_failing = is_failing
        if self.folded > self._said_folded:
            logger.warning(
                "usage: %d requests are counted without user and operation, since memory for new ones is full",
                self.folded - self._said_folded,
            )
            self._said_folded = self.folded

    def _merge(self, taken: _Sums) -> None:
        """Add sums to those that are not stored yet."""
        for key, sums in taken.items():
            into = self._unstored.get(key)
            if into is None and len(self._unstored) >= self._max_pending and key.operation != FOLDED:
                self._count_folded(sums[_COUNT])
                key = _folded(key)  # noqa: PLW2901
                into = self._unstored.get(key)
            if into is None:
                self._unstored[key] = sums
                continue
            into[_COUNT] += sums[_COUNT]
            into[_ERRORS] += sums[_ERRORS]
            into[_FIRST] = min(into[_FIRST], sums[_FIRST])
            into[_LAST] = max(into[_LAST], sums[_LAST])

    def _count_folded(self, requests: int) -> None:
        with self._lock:
            self.folded += requests
        counts.usage_folded.add(by=requests)

    def _prune(self) -> None:
        """Delete what is too old, once a day."""
        today = int(self._now()) // DAY_S
        if today == self._pruned_on:
            return
        try:
            prune_usage(self.rows, today, retention_days=self._retention_days)
        except CompatAuthError:
            # The write says so.
            return
        self._pruned_on = today

    def close(self) -> None:
        """Store what is pending, unless the store was unavailable a moment ago, and close the connections."""
        if self._is_failing:
            lost = len(self._pending) + len(self._unstored)
            logger.warning("usage: %d sums are lost, since the store cannot be asked", lost)
        else:
            self.flush()
        self.rows.close()


def _folded(key: UsageKey) -> UsageKey:
    return UsageKey(key.day, "", key.backend, OTHER, "", FOLDED, key.outcome)


def storable_name(username: str) -> str:
    """Return a name as the table has it: no NUL, no lone surrogate, at most 512 bytes in UTF-8."""
    data = username.replace("\0", "").encode("utf-8", "replace")
    if len(data) <= _MAX_NAME_BYTES:
        return data.decode("utf-8")
    digest = hashlib.sha256(data).hexdigest()[:16]
    return f"{data[: _MAX_NAME_BYTES - 20].decode('utf-8', 'ignore')}…{digest}"


def prune_usage(rows: UsageRows, today: int, *, retention_days: int) -> int:
    """Delete the usage of days that are too old, and return how many rows and partitions that were."""
    first = today - retention_days
    return len(rows.drop_months(first)) + rows.delete_before(first)


def set_usage(app: Flask, recorder: UsageRecorder | None) -> None:
    """Let the gate of an app count its requests."""
    app.extensions[_EXTENSION] = recorder


def usage_of(app: Flask) -> UsageRecorder | None:
    """Return the recorder of an app's gate; None: nobody counts."""
    found = app.extensions.get(_EXTENSION)
    return found if isinstance(found, UsageRecorder) else None

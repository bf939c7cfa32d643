"""The report: how much each backend is used, by whom, with what, and how that changes. Every question has a limit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from sqlalchemy.sql import ColumnElement

from compat_auth.store.tables.usage import DAY_S, USAGE, UsageRows
from compat_auth.usage.evidence import is_operation
from compat_auth.usage.forecast import Forecast, forecast
from compat_auth.usage.operations import LANE

MAX_ROWS: Final = 100
"""Rows of one table of the report."""
MAX_EXPORTED: Final = 100_000
"""Rows of a download."""
_EPOCH = date(1970, 1, 1).toordinal()
_WEEK = 7
EXPORTED: Final = ("principal", "backend", "client", "network", "operation", "outcome")
"""Columns of a download, before the sums."""


@dataclass(frozen=True, slots=True)
class Filters:
    """The requests that a report is about; "" stands for all.

    Attributes:
        days: Days up to today.
        user: Name of the user.
        backend: Name of the backend.
        client: Kind of client.
        network: Range of addresses.
        operation: An operation, or the beginning of a path such as `/api/v1/`.
    """

    days: int = 90
    user: str = ""
    backend: str = ""
    client: str = ""
    network: str = ""
    operation: str = ""

    def conditions(self, today: int) -> list[ColumnElement[bool]]:
        """Return the conditions on the table."""
        return [USAGE.c.day > today - self.days, *self.conditions_of_any_day()]

    def conditions_of_any_day(self) -> list[ColumnElement[bool]]:
        """Return the conditions without those on the day."""
        columns = USAGE.c
        where: list[ColumnElement[bool]] = []
        for column, value in (
            (columns.principal, self.user),
            (columns.backend, self.backend),
            (columns.client, self.client),
            (columns.network, self.network),
        ):
            if value:
                where.append(column == value)
        if self.operation:
            where.append(is_operation(self.operation))
        return where


@dataclass(frozen=True, slots=True)
class BackendUse:
    """One backend.

    Attributes:
        name: Its name; `upstream`: tokens that only the upstream checks; "": requests that no backend accepted.
        count: Requests; those through the lane count as seconds.
        errors: Requests with a status of 400 or above.
        last_seen: Seconds since the epoch.
        by_day: Requests of each day of the report.
        first_week: Requests a day in the first seven days of its use.
        last_week: Requests a day in the last seven whole days.
        forecast: Its last day.
    """

    name: str
    count: int
    errors: int
    last_seen: int
    by_day: tuple[int, ...]
    first_week: float
    last_week: float
    forecast: Forecast


@dataclass(frozen=True, slots=True)
class Report:
    """The report.

    Attributes:
        filters: What it is about.
        first_day: The first day of the report, in days since the epoch.
        today: The last one.
        recorded_since: The first day with any usage, also with one that the filters leave out; None: there is none.
        backends: The backends, the most used first.
        scripts: Requests by user, backend, client and range of addresses.
        clients: Requests by client.
        operations: Requests by operation.
        old_operations: Requests by operation of the API that Airflow 3 has removed.
        affected: Users and clients that each backend let in: they would fail if it were switched off.
        truncated: Names of tables that have more rows than are shown.
    """

    filters: Filters
    first_day: int
    today: int
    recorded_since: int | None
    backends: tuple[BackendUse, ...]
    scripts: tuple[dict[str, Any], ...]
    clients: tuple[dict[str, Any], ...]
    operations: tuple[dict[str, Any], ...]
    old_operations: tuple[dict[str, Any], ...]
    affected: dict[str, tuple[dict[str, Any], ...]]
    truncated: tuple[str, ...] = field(default=())


def make_report(rows: UsageRows, filters: Filters, now: int) -> Report:
    """Return the report.

    Args:
        rows: The table.
        filters: What it is about.
        now: Seconds since the epoch.

    Raises:
        BackendUnavailable: The store could not be asked.
    """
    today = now // DAY_S
    if not rows.is_there:
        return Report(filters, today - filters.days + 1, today, None, (), (), (), (), (), {})
    where = filters.conditions(today)
    granted = [*where, USAGE.c.outcome == "granted"]
    # The lane names no operation.
    named = [*where, USAGE.c.operation != LANE]
    truncated: list[str] = []

    def table(name: str, *by: str, where: Iterable[ColumnElement[bool]]) -> tuple[dict[str, Any], ...]:
        found = rows.sums(*by, where=where, limit=MAX_ROWS + 1)
        if len(found) > MAX_ROWS:
            truncated.append(name)
        return tuple(found[:MAX_ROWS])

    scripts = table("scripts", "principal", "backend", "client", "network", where=granted)
    backends = _backends(rows, filters, today)
    affected = {
        one.name: table(f"affected {one.name}", "principal", "client", where=[*granted, USAGE.c.backend == one.name])
        for one in backends
        if one.name and one.count
    }
    return Report(
        filters,
        today - filters.days + 1,
        today,
        rows.first_day(),
        backends,
        scripts,
        table("clients", "client", where=where),
        table("operations", "operation", where=named),
        table("old_operations", "operation", where=[*named, is_operation("/api/v1/")]),
        affected,
        tuple(truncated),
    )


def _backends(rows: UsageRows, filters: Filters, today: int) -> tuple[BackendUse, ...]:
    # From the start: progress and forecast need more than the days of the report.
    found = rows.sums("day", "backend", where=filters.conditions_of_any_day(), order="day")
    by_backend: dict[str, dict[int, dict[str, Any]]] = {}
    for row in found:
        by_backend.setdefault(row["backend"], {})[row["day"]] = row
    uses = [_use_of(name, days, filters, today) for name, days in by_backend.items()]
    return tuple(sorted(uses, key=lambda use: (-use.count, use.name)))


def _use_of(name: str, days: dict[int, dict[str, Any]], filters: Filters, today: int) -> BackendUse:
    first = min(days)
    shown = range(today - filters.days + 1, today + 1)
    within = [days[day] for day in shown if day in days]
    whole = [_count(days, day) for day in range(first, today)]
    return BackendUse(
        name,
        sum(row["count"] for row in within),
        sum(row["errors"] for row in within),
        max(row["last_seen"] for row in days.values()),
        tuple(_count(days, day) for day in shown),
        _mean(whole[:_WEEK]),
        _mean(whole[-_WEEK:]),
        forecast(whole, first),
    )


def _count(days: dict[int, dict[str, Any]], day: int) -> int:
    return int(days[day]["count"]) if day in days else 0


def _mean(counts: list[int]) -> float:
    return round(sum(counts) / len(counts), 2) if counts else 0.0


def export(rows: UsageRows, filters: Filters, now: int, *, limit: int = MAX_EXPORTED) -> list[dict[str, Any]]:
    """Return the requests of the report by all that is known of them, the most frequent first, for a download.

    Args:
        rows: The table.
        filters: What the report is about.
        now: Seconds since the epoch.
        limit: Most rows.

    Raises:
        BackendUnavailable: The store could not be asked.
    """
    if not rows.is_there:
        return []
    return rows.sums(*EXPORTED, where=filters.conditions(now // DAY_S), limit=limit)


def day_text(day: int) -> str:
    """Return a day as `2026-11-30`."""
    return date.fromordinal(_EPOCH + day).isoformat()

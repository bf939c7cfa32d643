"""The table of usage: how often, and when first and last, who used what on a day.

Writers add to the sums that are there, so any number of processes and replicas count together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import delete, func, literal_column, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.sql import ColumnElement

from compat_auth.store.database import Database
from compat_auth.store.schema import usage

USAGE = usage
"""The table."""
DAY_S = 86400
_BATCH = 500
_EPOCH = date(1970, 1, 1).toordinal()
# An arbitrary number beside that of the migrations.
_ADVISORY_LOCK = 0x636F6D71
# Not the plain column: SQLite would follow the index of users through all days, and not read the days that are asked for.
_PRINCIPALS = USAGE.c.principal.concat(literal_column("''")).label("principal")
_KEY = ("day", "principal", "backend", "client", "network", "operation", "outcome")


class UsageKey(NamedTuple):
    """The facts about requests that are counted together.

    Attributes:
        day: Days since the epoch, UTC.
        principal: Name of the user; "": nobody knows who it was.
        backend: Name of the backend that vouches for the user, `upstream` for a token that the upstream checks; "": none.
        client: Kind of client.
        network: Range of addresses; "": unknown.
        operation: See `compat_auth.usage.operations`.
        outcome: "granted" or "refused".
    """

    day: int
    principal: str
    backend: str
    client: str
    network: str
    operation: str
    outcome: str


class UsageSums(NamedTuple):
    """The sums of some requests.

    Attributes:
        requests: How many there are.
        errors: Those among them with a status of 400 or above, or without an answer.
        first_seen: Seconds since the epoch.
        last_seen: Seconds since the epoch.
    """

    requests: int
    errors: int
    first_seen: int
    last_seen: int


UsageRow = tuple[UsageKey, UsageSums]


def month_of(day: int) -> tuple[str, int, int]:
    """Return the suffix of the partition of a day, its first day and the first day after it."""
    found = date.fromordinal(_EPOCH + day)
    first = found.replace(day=1)
    after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return f"{first.year:04d}_{first.month:02d}", first.toordinal() - _EPOCH, after.toordinal() - _EPOCH


class UsageRows:
    """The table. Any thread may use it; every method may raise BackendUnavailable.

    Args:
        database: The store.

    Attributes:
        database: The store.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._months: set[str] = set()

    @property
    def is_there(self) -> bool:
        """Whether there is a database at all."""
        return self.database.is_there

    def add(self, rows: Sequence[UsageRow]) -> None:
        """Add to the sums, in one transaction."""
        # Always in the same order, so that two writers cannot deadlock.
        values = [_values(key, sums) for key, sums in sorted(rows)]
        days = {key.day for key, _ in rows}
        months = {month for day in days for month in (month_of(day), month_of(month_of(day)[2]))}
        # Forgotten where the transaction fails: nobody knows then what is there.
        known, self._months = self._months, set()
        with self.database.write() as connection:
            if connection.dialect.name == "postgresql":
                _make_partitions(connection, months, known)
            statement = _ADD_POSTGRESQL if connection.dialect.name == "postgresql" else _ADD_SQLITE
            for start in range(0, len(values), _BATCH):
                connection.execute(statement, values[start : start + _BATCH])
        self._months = {month[0] for month in months}

    def delete_before(self, day: int) -> int:
        """Delete the rows of the days before a day, and return how many there were."""
        with self.database.write() as connection:
            return connection.execute(delete(USAGE).where(USAGE.c.day < day)).rowcount

    def drop_months(self, day: int) -> list[str]:
        """Drop the partitions whose days all come before a day (PostgreSQL), and return their names."""
        with self.database.write() as connection:
            if connection.dialect.name != "postgresql":
                return []
            found = connection.execute(
                text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(:name)"),
                {"name": USAGE.name},
            ).scalars()
            _, first, _ = month_of(day)
            old = sorted(name for name in found if (last := _last_day(name)) is not None and last < first)
            for name in old:
                connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
            return old

    def sums(
        self, *by: str, where: Iterable[ColumnElement[bool]] = (), limit: int = 0, order: str = "count"
    ) -> list[dict[str, Any]]:
        """Return sums by the named columns.

        Args:
            by: Names of columns.
            where: Conditions on `USAGE`.
            limit: Most rows; 0: all.
            order: "count": the largest first. Any other name: by that column.
        """
        totals = (
            func.sum(USAGE.c.count).label("count"),
            func.sum(USAGE.c.errors).label("errors"),
            func.min(USAGE.c.first_seen).label("first_seen"),
            func.max(USAGE.c.last_seen).label("last_seen"),
        )
        columns = [_PRINCIPALS if name == "principal" else USAGE.c[name] for name in by]
        first = totals[0].desc() if order == "count" else USAGE.c[order]
        query = select(*columns, *totals).where(*where).group_by(*columns).order_by(first, *columns)
        with self.database.read() as connection:
            found = connection.execute(query.limit(limit) if limit else query).mappings()
            return [{**row, **_whole(row)} for row in found]

    def first_day(self) -> int | None:
        """Return the first day with any usage, in days since the epoch; None: there is none."""
        with self.database.read() as connection:
            return connection.execute(select(func.min(USAGE.c.day))).scalar_one_or_none()

    def close(self) -> None:
        """Close the connections."""
        self.database.close()


def _make_partitions(connection: Connection, months: Iterable[tuple[str, int, int]], known: Collection[str]) -> None:
    """Make the partitions that are missing; the caller asks a month ahead, so that no request's day waits for one."""
    missing = sorted(month for month in months if month[0] not in known)
    if not missing:
        return
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
    for name, first, after in missing:
        connection.execute(
            text(
                f"CREATE TABLE IF NOT EXISTS {USAGE.name}_{name} PARTITION OF {USAGE.name} "
                f"FOR VALUES FROM ({first}) TO ({after})"
            )
        )


def _values(key: UsageKey, sums: UsageSums) -> dict[str, Any]:
    values = {**key._asdict(), **sums._asdict()}
    values["count"] = values.pop("requests")
    return values


def _whole(row: Any) -> dict[str, int]:
    # PostgreSQL's sum of a bigint is a numeric.
    return {name: int(row[name] or 0) for name in ("count", "errors")}


def _last_day(partition: str) -> int | None:
    year, _, month = partition.rpartition(".")[2].removeprefix(f"{USAGE.name}_").partition("_")
    if not (year.isdigit() and month.isdigit()):
        return None
    return month_of(date(int(year), int(month), 1).toordinal() - _EPOCH)[2] - 1


def _added(table: Any, excluded: Any, least: Any, greatest: Any) -> dict[str, Any]:
    return {
        "count": table.c.count + excluded.count,
        "errors": table.c.errors + excluded.errors,
        "first_seen": least(table.c.first_seen, excluded.first_seen),
        "last_seen": greatest(table.c.last_seen, excluded.last_seen),
    }


def _statements() -> Iterator[Any]:
    for dialect, least, greatest in (
        (sqlite, func.min, func.max),
        (postgresql, func.least, func.greatest),
    ):
        insert: Any = dialect.insert(USAGE)
        yield insert.on_conflict_do_update(
            index_elements=list(_KEY), set_=_added(USAGE, insert.excluded, least, greatest)
        )


_ADD_SQLITE, _ADD_POSTGRESQL = _statements()

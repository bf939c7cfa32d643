"""The table of the stages of logins."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select
from sqlalchemy.engine import Row

from compat_auth.errors import BackendUnavailable, InvalidValue
from compat_auth.store.database import Database
from compat_auth.store.schema import BACKEND_LENGTH, NAME_LENGTH, stage_rules

_TABLE = stage_rules
MOST_RULES = 10_000
"""Most rules: each process keeps all of them in memory."""
# The sum of the marks of all rules stays far below 2**63.
_MAX_MARK = 2**40
# Two different contents have the same count and sum only by a chance of one in a million million.
_MARK = select(func.count(), func.coalesce(func.sum(_TABLE.c.mark), 0)).select_from(_TABLE)
_ALL = select(_TABLE).order_by(_TABLE.c.backend, _TABLE.c.operation, _TABLE.c.principal)


@dataclass(frozen=True, slots=True)
class StageRow:
    """One rule as it is stored; times are seconds since the epoch. `compat_auth.stages.rules` says what the values mean.

    Attributes:
        backend: Name of a backend, or "" for any.
        operation: An operation, or "" for any.
        principal: User name, or "" for any.
        stage: Name of the stage.
        until: End of the rule, or None.
        deprecated: Start of the deprecation, or None.
        sunset: Announced end of the use, or None.
        windows: Start, length and period of each window of a brownout, in seconds.
        status: Of a brownout's refusal.
        per_minute: Limit of a throttle.
        changed: When the rule was changed.
        changed_by: By whom.
    """

    backend: str
    operation: str
    principal: str
    stage: str
    until: int | None = None
    deprecated: int | None = None
    sunset: int | None = None
    windows: tuple[tuple[int, int, int], ...] = ()
    status: int = 410
    per_minute: int = 0
    changed: int = 0
    changed_by: str = ""


class StageRuleRows:
    """The rules in the database. Any thread may use it; every method may raise BackendUnavailable.

    Attributes:
        database: The store.
    """

    def __init__(self, database: Database) -> None:
        self.database = self._database = database

    @property
    def is_there(self) -> bool:
        """Whether there is a database at all: what has never been written need not be read."""
        return self._database.is_there

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def read(self, known: tuple[int, int] | None) -> tuple[tuple[int, int], tuple[StageRow, ...]] | None:
        """Return a mark of the rules, and the rules; None where they still have the known mark."""
        with self._database.read() as connection:
            count, total = connection.execute(_MARK).one()
            mark = (int(count), int(total))
            if mark == known:
                return None
            rows = connection.execute(_ALL).all()
        return mark, tuple(map(_row_of, rows))

    def list(self) -> tuple[StageRow, ...]:
        """Return all rules, in the order of backend, operation and principal."""
        if not self._database.is_there:
            return ()
        with self._database.read() as connection:
            rows = connection.execute(_ALL).all()
        return tuple(map(_row_of, rows))

    def set(self, row: StageRow) -> StageRow | None:
        """Store a rule, and return the one that it replaces.

        Raises:
            InvalidValue: There are too many, or a name is too long.
        """
        names = (row.backend, row.operation, row.principal)
        if len(row.backend) > BACKEND_LENGTH or max(map(len, names)) > NAME_LENGTH or "\0" in "".join(names):
            raise InvalidValue("a backend, an operation or a principal is too long, or has a NUL")
        with self._database.write() as connection:
            before = connection.execute(select(_TABLE).where(_is(*names))).one_or_none()
            if before is None and (connection.scalar(select(func.count()).select_from(_TABLE)) or 0) >= MOST_RULES:
                raise InvalidValue(f"there are {MOST_RULES} rules already; remove some, or write one for many users")
            connection.execute(delete(_TABLE).where(_is(*names)))
            values = {name: getattr(row, name) for name in StageRow.__slots__}
            values |= {
                "windows": json.dumps(row.windows),
                "changed_by": row.changed_by[:NAME_LENGTH],
                "mark": 1 + secrets.randbelow(_MAX_MARK),
            }
            connection.execute(insert(_TABLE).values(values))
        return None if before is None else _row_of(before)

    def remove(self, backend: str, operation: str, principal: str) -> bool:
        """Remove the rule for exactly these uses, and return whether there was one."""
        if not self._database.is_there:
            return False
        with self._database.write() as connection:
            return bool(connection.execute(delete(_TABLE).where(_is(backend, operation, principal))).rowcount)


def _is(backend: str, operation: str, principal: str) -> ColumnElement[bool]:
    return (_TABLE.c.backend == backend) & (_TABLE.c.operation == operation) & (_TABLE.c.principal == principal)


def _row_of(row: Row[Any]) -> StageRow:
    values: dict[str, Any] = {name: getattr(row, name) for name in StageRow.__slots__}
    try:
        windows = tuple((int(start), int(length), int(every)) for start, length, every in json.loads(row.windows))
    except (TypeError, ValueError):
        # A rule that nobody understands must not be skipped: it may have switched something off.
        raise BackendUnavailable("database_url: the windows of a stage cannot be read") from None
    values["windows"] = windows
    return StageRow(**values)

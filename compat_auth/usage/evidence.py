"""Questions about the stored usage: who used a backend or an operation lately."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.sql import ColumnElement

from compat_auth.concurrency.clock import unix_now
from compat_auth.store.database import Database
from compat_auth.store.tables.usage import DAY_S, USAGE, UsageRows

MAX_USES = 100_000
"""Most uses that one question returns; ask for one more to see whether there are more."""


@dataclass(frozen=True, slots=True)
class Use:
    """Requests of one kind.

    Attributes:
        principal: Name of the user; "": unknown.
        backend: Name of the backend; `upstream`: a token that only the upstream checks; "": none.
        client: Kind of client, such as `curl`; see `compat_auth.usage.clients`.
        operation: A scope that covers the requests, or `lane`; see `compat_auth.usage.operations`.
        count: Requests; with the operation `lane`: seconds.
        last_seen: Seconds since the epoch.
    """

    principal: str
    backend: str
    client: str
    operation: str
    count: int
    last_seen: int


def used_by(
    database: Database,
    *,
    backend: str | None = None,
    operation: str | None = None,
    principal: str | None = None,
    days: int = 90,
    now: int | None = None,
    limit: int = MAX_USES,
) -> list[Use]:
    """Return who used what within the last days and was let in, the most frequent use first.

    Args:
        database: The store.
        backend: Only this backend.
        operation: Only this operation: `GET /api/v1/dags`; or all operations whose path begins so: `/api/v1/`.
        principal: Only this user.
        days: Days up to today.
        now: Seconds since the epoch; None: the clock's.
        limit: Most uses.

    Raises:
        BackendUnavailable: The store could not be asked.
    """
    rows = UsageRows(database)
    if not rows.is_there:
        return []
    today = (unix_now() if now is None else now) // DAY_S
    where: list[ColumnElement[bool]] = [USAGE.c.day > today - days, USAGE.c.outcome == "granted"]
    if backend is not None:
        where.append(USAGE.c.backend == backend)
    if principal is not None:
        where.append(USAGE.c.principal == principal)
    if operation is not None:
        where.append(is_operation(operation))
    found = rows.sums("principal", "backend", "client", "operation", where=where, limit=limit)
    return [Use(**{name: row[name] for name in Use.__slots__}) for row in found]


def is_operation(operation: str) -> ColumnElement[bool]:
    """Return the condition that a row is of an operation, or of any whose path begins so."""
    if operation.startswith("/"):
        # The method stands before the path. Escaped: a path may hold a wildcard of LIKE.
        return USAGE.c.operation.contains(f" {operation}", autoescape=True)
    return USAGE.c.operation == operation

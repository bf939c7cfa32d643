"""The tables of usage: how often, and when last, personal tokens were used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import String, bindparam, insert, or_, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from compat_auth.store.database import Database
from compat_auth.store.schema import personal_token_uses, personal_tokens

_USES = personal_token_uses
_TOKENS = personal_tokens
LAST_USED_PAUSE_S = 300
# Built once: to build them for each use costs more than to run them.
_TOKEN = bindparam("token", type_=String())
_COUNT = (
    update(_USES)
    .where(_USES.c.token_id == _TOKEN, _USES.c.day == bindparam("on", type_=_USES.c.day.type))
    .values(uses=_USES.c.uses + bindparam("more", type_=_USES.c.uses.type))
)
_FIRST = insert(_USES)
_LAST = _TOKENS.c.last_used
_SEE = (
    update(_TOKENS)
    .where(_TOKENS.c.id == _TOKEN, or_(_LAST.is_(None), bindparam("due", type_=_LAST.type) >= _LAST))
    .values(
        last_used=bindparam("used", type_=_LAST.type),
        last_address=bindparam("address", type_=String()),
        last_agent=bindparam("agent", type_=String()),
    )
)


@dataclass(frozen=True, slots=True)
class LastUse:
    """The last use of a token: when, from where and by what; texts already truncated to their columns."""

    token_id: str
    used: int
    address: str
    agent: str


class TokenUsageRows:
    """Usage in the database. Any thread may use it; every method may raise BackendUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, counts: Mapping[tuple[str, int], int], last_uses: Iterable[LastUse]) -> None:
        """Add to the counts by token and day, and store last uses, each at most once in five minutes."""
        with self._database.write() as connection:
            for use in last_uses:
                values = {"used": use.used, "address": use.address, "agent": use.agent}
                due = {"token": use.token_id, "due": use.used - LAST_USED_PAUSE_S}
                connection.execute(_SEE, {**values, **due})
            # Always in the same order, so that two writers cannot deadlock.
            for (token_id, day), uses in sorted(counts.items()):
                _add(connection, token_id, day, uses)

    def of(self, token_id: str, *, since_day: int) -> dict[int, int]:
        """Return how often a token was used on each day (days since the epoch), from that day on."""
        mine = (_USES.c.token_id == token_id, _USES.c.day >= since_day)
        with self._database.read() as connection:
            found = connection.execute(select(_USES.c.day, _USES.c.uses).where(*mine).order_by(_USES.c.day))
            return {day: uses for day, uses in found}  # noqa: C416  # a row is a pair to us, not to the type checkers


def _add(connection: Connection, token_id: str, day: int, uses: int) -> None:
    more = {"token": token_id, "on": day, "more": uses}
    if connection.execute(_COUNT, more).rowcount:
        return
    try:
        with connection.begin_nested():
            connection.execute(_FIRST, {"token_id": token_id, "day": day, "uses": uses})
    except IntegrityError:
        # Another process was first, or the token was deleted.
        connection.execute(_COUNT, more)

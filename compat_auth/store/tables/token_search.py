"""A search among the personal tokens that are not revoked: by text, in an order, one page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, or_, select

from compat_auth.store.database import Database
from compat_auth.store.schema import personal_tokens, role_accounts
from compat_auth.store.tables.personal_tokens import PersonalToken, select_tokens, token_of

_TABLE = personal_tokens
_BY_USER = (_TABLE.c.username, _TABLE.c.name, _TABLE.c.id)
_ORDERS: dict[str, tuple[Any, ...]] = {
    "name": (_TABLE.c.name, *_BY_USER),
    "user": _BY_USER,
    "created": (_TABLE.c.created.desc(), *_BY_USER),
    "expires": (_TABLE.c.expires, *_BY_USER),
    # Databases disagree about where NULL belongs.
    "used": (func.coalesce(_TABLE.c.last_used, 0).desc(), *_BY_USER),
}


@dataclass(frozen=True, slots=True)
class TokenSearch:
    """A search.

    Attributes:
        text: Part of a user name, a name, an id or a scope; "" finds all.
        order: "name", "user", "created", "expires" or "used".
        limit: Most tokens to return.
        offset: Tokens to leave out before these.
        username: Only the tokens of this person, without role accounts; None: all tokens.
    """

    text: str
    order: str
    limit: int
    offset: int = 0
    username: str | None = None


@dataclass(frozen=True, slots=True)
class FoundTokens:
    """The result of a search.

    Attributes:
        tokens: The tokens of the requested page.
        total: Number of tokens on all pages.
    """

    tokens: tuple[PersonalToken, ...]
    total: int


class TokenSearchRows:
    """Searches the tokens in the database. Any thread may use it; the method may raise BackendUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, search: TokenSearch) -> FoundTokens:
        """Return one page of the tokens that are not revoked, expired ones too; after the last page, the last one."""
        found = _narrowed(select_tokens(), search).order_by(*_ORDERS[search.order])
        counted = _narrowed(_count(), search)
        with self._database.read() as connection:
            total: int = connection.execute(counted).scalar_one()
            offset = min(search.offset, max(0, total - 1) // search.limit * search.limit)
            rows = connection.execute(found.limit(search.limit).offset(offset)).mappings()
            return FoundTokens(tuple(map(token_of, rows)), total)


def _count() -> Any:
    joined = _TABLE.outerjoin(role_accounts, role_accounts.c.username == _TABLE.c.username)
    return select(func.count()).select_from(joined)


def _narrowed(query: Any, search: TokenSearch) -> Any:
    query = query.where(_TABLE.c.revoked.is_(None))
    if search.username is not None:
        query = query.where(_TABLE.c.username == search.username, role_accounts.c.username.is_(None))
    if search.text:
        columns = (_TABLE.c.username, _TABLE.c.name, _TABLE.c.id, _TABLE.c.scopes)
        query = query.where(or_(*(column.icontains(search.text, autoescape=True) for column in columns)))
    return query

"""The queries on Airflow's own tables, built once for each directory: to build one costs more than to run it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    bindparam,
    cast,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.mysql import CHAR

_metadata = MetaData()
_users = Table(
    "ab_user",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("username", String),
    Column("password", String),
    Column("active", Boolean),
    Column("email", String),
)
_roles = Table("ab_role", _metadata, Column("id", Integer, primary_key=True), Column("name", String))
_user_roles = Table("ab_user_role", _metadata, Column("user_id", Integer), Column("role_id", Integer))
_sessions = Table(
    "session",
    _metadata,
    Column("session_id", String, primary_key=True),
    Column("data", LargeBinary),
    Column("expiry", DateTime),
)
# Of MySQL: every text, and each letter is itself only.
_CHARSET, _COLLATION = "utf8mb4", "utf8mb4_bin"
DECOY_SAMPLE = 50
"""How many of the newest users' hashes `newest_hashes` returns."""

TIME_LIMIT: Select[Any] = select(
    func.set_config("statement_timeout", bindparam("limit", type_=String()), literal(True))
)
"""Limits each query of a transaction in PostgreSQL to the time `limit`, such as "5s"."""


class Statements:
    """The queries for one kind of database. Any thread may use them.

    Args:
        is_mysql: Whether it is MySQL or MariaDB, which compare text without case.

    Attributes:
        by_name: Users by `typed`, their name; each row says so in `by_username`.
        by_name_or_email: Users by `typed`, their name or e-mail address; each row also has `by_email`.
        by_id: The user of the number `id`.
        taken: The id of a user who has `address`, compared without case, as name or e-mail address.
        first_active: The active user with the lowest number.
        role_names: The names of the roles of the user `id`.
        role_id: The id of the role `name`.
        session: The data of the session `session_id` that has not expired at `now`.
        newest_hashes: The hashes of the newest users.
    """

    def __init__(self, *, is_mysql: bool) -> None:
        self._is_mysql = is_mysql
        typed: ColumnElement[str] = bindparam("typed", type_=String())
        by_name = self._is_same(func.lower(self._text(_users.c.username)), func.lower(typed))
        by_email = self._is_same(self._text(_users.c.email), typed)
        of_name, of_email = by_name.label("by_username"), by_email.label("by_email")
        self.by_name: Select[Any] = select(_users, of_name).where(by_name)
        self.by_name_or_email: Select[Any] = select(_users, of_name, of_email).where(or_(by_name, by_email))
        user_id = bindparam("id", type_=Integer())
        self.by_id: Select[Any] = select(_users).where(_users.c.id == user_id)
        # As loosely as the database's own unique index compares them: Airflow could not create such a user.
        address = func.lower(bindparam("address", type_=String()))
        columns = (self._text(_users.c.username), self._text(_users.c.email))
        self.taken: Select[Any] = (
            select(_users.c.id).where(or_(*(func.lower(column) == address for column in columns))).limit(1)
        )
        self.first_active: Select[Any] = select(_users).where(_users.c.active.is_(True)).order_by(_users.c.id).limit(1)
        joined = select(_roles.c.name).join(_user_roles, _user_roles.c.role_id == _roles.c.id)
        self.role_names: Select[Any] = joined.where(_user_roles.c.user_id == user_id)
        role = self._is_same(_roles.c.name, bindparam("name", type_=String()))
        self.role_id: Select[Any] = select(_roles.c.id).where(role).limit(1)
        is_it = self._is_same(_sessions.c.session_id, bindparam("session_id", type_=String()))
        alive = _sessions.c.expiry > bindparam("now", type_=DateTime())
        self.session: Select[Any] = select(_sessions.c.data).where(is_it, alive)
        hashed = select(_users.c.password).where(_users.c.password.is_not(None))
        self.newest_hashes: Select[Any] = hashed.order_by(_users.c.id.desc()).limit(DECOY_SAMPLE)

    def _text(self, column: Column[str]) -> ColumnElement[str]:
        # The column may be latin1 or utf8mb3, which cannot be compared with every text.
        return cast(column, CHAR(charset=_CHARSET)) if self._is_mysql else column

    def _is_same(self, left: ColumnElement[str], right: ColumnElement[str]) -> ColumnElement[bool]:
        return left == (right.collate(_COLLATION) if self._is_mysql else right)

"""The users of an existing Airflow 2 or 3 database, as FAB's tables hold them. Reads only, never writes.

A user is found by name, compared without case as Airflow 2 did, or by e-mail address, compared with case. A name takes
precedence over another user's e-mail address. If two names differ only in case, neither can log in. A user's roles are
their
own: Airflow 3.3 does not count those of FAB's groups (`ab_group_role`) either when it authorizes a request.

Names and addresses compare the same in every database: the additional matches of a MySQL collation (accents, spaces
at the end) do not count, so nobody is found by a name that only looks alike.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    cast,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.mysql import CHAR
from sqlalchemy.engine import Connection, Engine, Row
from sqlalchemy.exc import SQLAlchemyError

from compat_auth.config import Settings
from compat_auth.databases import STATEMENT_TIMEOUT_S, answering
from compat_auth.directory import DirectoryUser
from compat_auth.errors import BackendUnavailable
from compat_auth.passwords import decoy_like
from compat_auth.resilience import CircuitBreaker
from compat_auth_backends.directories.airflow_db_url import make_engine, read_url

T = TypeVar("T")

# How old the idea may be of what the users' hashes cost.
DECOY_MAX_AGE_S = 300.0
_DECOY_SAMPLE = 50
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
# Beyond this PostgreSQL's INTEGER has no number.
_MAX_ID_DIGITS = 9


class AirflowDatabaseDirectory:
    """The users and hashes that Airflow's FAB stored."""

    name = "airflow_db"
    is_server = True
    needs = ("[airflow_db] url",)

    def __init__(self, url: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._url = read_url(url)
        # Never the user name, password or query: they may hold secrets.
        self._label = f"{self._url.get_backend_name()}://{self._url.host or ''}/{self._url.database or ''}"
        self._is_mysql = self._url.get_backend_name() == "mysql"
        self._monotonic = monotonic
        self._outage = CircuitBreaker.of(f"{self._label} {self._url.port or ''} {self._url.username or ''}")
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._pid = 0
        self._decoy = ""
        self._decoy_made = float("-inf")

    @classmethod
    def from_settings(cls, settings: Settings) -> AirflowDatabaseDirectory:
        """Return the directory of `[airflow_db] url`; connects at first use.

        Raises:
            ConfigError: The URL is missing, malformed, of another database, or its driver is not installed.
        """
        return cls(settings.airflow_db.url.get_secret_value())

    def find(self, username: str) -> DirectoryUser | None:
        """Return the user of that name, else of that e-mail address, active or not; None if unknown.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        return self._find(username, ("username", "email"))

    def find_by_username(self, username: str) -> DirectoryUser | None:
        """Return the user of that name, active or not, whatever the e-mail addresses; None if unknown.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        return self._find(username, ("username",))

    def knows(self, address: str) -> bool:
        """Return whether anybody, active or not, has this as name or e-mail address, both compared without case.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        # As loosely as the database's own unique index compares them: Airflow could not create such a user.
        columns = (self._text(_users.c.username), self._text(_users.c.email))
        same = (func.lower(column) == func.lower(address) for column in columns)
        return (
            self._ask(lambda connection: connection.scalar(select(_users.c.id).where(or_(*same)).limit(1))) is not None
        )

    def find_by_id(self, upstream_id: str) -> DirectoryUser | None:
        """Return the user of that key, active or not; None if unknown.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        if not (upstream_id.isascii() and upstream_id.isdigit()) or len(upstream_id) > _MAX_ID_DIGITS:
            return None

        def ask(connection: Connection) -> DirectoryUser | None:
            row = connection.execute(select(_users).where(_users.c.id == int(upstream_id))).one_or_none()
            return None if row is None else self._describe(connection, row)

        return self._ask(ask)

    def has_role(self, name: str) -> bool:
        """Return whether there is a role of that name.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        same = self._is_same(_roles.c.name, literal(name))
        return self._ask(lambda connection: connection.scalar(select(_roles.c.id).where(same).limit(1))) is not None

    def engine(self) -> Engine:
        """Return SQLAlchemy's engine on the database, for reading."""
        return self._engine_of_process()

    def anybody(self) -> DirectoryUser | None:
        """Return the active user with the lowest number, or None if there is none.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        first = select(_users).where(_users.c.active.is_(True)).order_by(_users.c.id).limit(1)

        def ask(connection: Connection) -> DirectoryUser | None:
            row = connection.execute(first).one_or_none()
            return None if row is None else self._describe(connection, row)

        return self._ask(ask)

    def problems(self) -> list[str]:
        """Return the problems of an SQLite database's file: where, why, and the remedy."""
        if self._url.get_backend_name() != "sqlite":
            return []
        file = Path(self._url.database or "")
        why = "does not exist" if not file.exists() else "is a folder" if file.is_dir() else ""
        if not why and not os.access(file, os.R_OK):
            why = "cannot be read by this user"
        return [f"airflow_db.url: {file} {why}; copy sql_alchemy_conn of Airflow's [database]"] if why else []

    def find_session(self, session_id: str, now: datetime) -> bytes | None:
        """Return the content that Airflow's UI has stored for a session; None if it is unknown or has expired.

        Args:
            session_id: As in the table.
            now: UTC, without a time zone, as in the table.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        if not session_id or "\0" in session_id:
            return None
        is_it = self._is_same(_sessions.c.session_id, literal(session_id))
        alive = select(_sessions.c.data).where(is_it, _sessions.c.expiry > now)
        return self._ask(lambda connection: connection.scalar(alive))

    def decoy(self) -> str:
        """Return a hash of no password, as costly to check as the costliest of the newest users'.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        if self._monotonic() - self._decoy_made > DECOY_MAX_AGE_S:
            newest = select(_users.c.password).where(_users.c.password.is_not(None))
            sample = self._ask(
                lambda connection: connection.scalars(newest.order_by(_users.c.id.desc()).limit(_DECOY_SAMPLE)).all()
            )
            self._decoy, self._decoy_made = decoy_like(sample), self._monotonic()
        return self._decoy

    def close(self) -> None:
        """Close the connections; the next query opens new ones."""
        with self._lock:
            if self._engine is not None:
                _dispose(self._engine, self._pid)
                self._engine = None

    def _find(self, typed: str, columns: tuple[Literal["username", "email"], ...]) -> DirectoryUser | None:
        if not typed or "\0" in typed:  # PostgreSQL knows no such text
            return None
        by_name = self._is_same(func.lower(self._text(_users.c.username)), func.lower(typed))
        by_email = self._is_same(self._text(_users.c.email), literal(typed))
        matches = {"username": by_name, "email": by_email}

        def ask(connection: Connection) -> DirectoryUser | None:
            query = select(_users, *(matches[column].label(f"by_{column}") for column in columns)).where(
                or_(*(matches[column] for column in columns))
            )
            # A comparison in MySQL ignores spaces at the end.
            rows = [row for row in connection.execute(query) if not self._is_mysql or _is_exact(row, typed)]
            for column in columns:
                found = [row for row in rows if getattr(row, f"by_{column}")]
                if found:
                    # Two users: nobody can say whose password it would have to be, so it is nobody's.
                    return (
                        self._describe(connection, found[0]) if len(found) == 1 else DirectoryUser(typed, active=False)
                    )
            return None

        return self._ask(ask)

    def _text(self, column: Column[str]) -> ColumnElement[str]:
        # The column may be latin1 or utf8mb3, which cannot be compared with every text.
        return cast(column, CHAR(charset=_CHARSET)) if self._is_mysql else column

    def _is_same(self, left: ColumnElement[str], right: ColumnElement[str]) -> ColumnElement[bool]:
        return left == (right.collate(_COLLATION) if self._is_mysql else right)

    def _describe(self, connection: Connection, row: Row[Any]) -> DirectoryUser:
        roles = select(_roles.c.name).join(_user_roles, _user_roles.c.role_id == _roles.c.id)
        return DirectoryUser(
            row.username,
            active=row.active is True,
            password_hash=row.password or "",
            email=row.email or "",
            roles=tuple(sorted(connection.scalars(roles.where(_user_roles.c.user_id == row.id)))),
            upstream_id=str(row.id),
        )

    def _ask(self, ask: Callable[[Connection], T]) -> T:
        try:
            with self._connect() as connection, connection.begin():
                if connection.dialect.name == "postgresql":
                    # Not as a start-up option: PgBouncer, which Airflow's Helm chart brings, refuses those.
                    connection.execute(
                        select(func.set_config("statement_timeout", literal(f"{STATEMENT_TIMEOUT_S}s"), literal(True)))
                    )
                return ask(connection)
        except (SQLAlchemyError, OSError) as exc:
            why = str(exc) if isinstance(exc, ConnectionError) else type(exc).__name__
            raise BackendUnavailable(
                f"airflow_db {self._label}: cannot be asked ({why}); "
                "check that the database runs and that [airflow_db] url is Airflow's own"
            ) from exc

    def _connect(self) -> AbstractContextManager[Connection]:
        engine = self._engine_of_process()
        is_sqlite = self._url.get_backend_name() == "sqlite"
        return engine.connect() if is_sqlite else answering(engine, self._outage)

    def _engine_of_process(self) -> Engine:
        with self._lock:
            if self._engine is None or self._pid != os.getpid():
                if self._engine is not None:
                    # Its connections belong to the process that we were forked from.
                    self._engine.dispose(close=False)
                self._engine, self._pid = make_engine(self._url), os.getpid()
                # Connections are closed with the directory that opened them, not when the collector finds them.
                weakref.finalize(self, _dispose, self._engine, self._pid).atexit = False
            return self._engine


def _is_exact(row: Row[Any], typed: str) -> bool:
    return bool(row.username.lower() == typed.lower() or row.email == typed)


def _dispose(engine: Engine, pid: int) -> None:
    # Closing what a forked process has inherited would end it for the one that opened it.
    engine.dispose(close=pid == os.getpid())

"""`airflow.utils.db` and `airflow.settings.Session` for a module: sessions on Airflow's database that only read."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Protocol, cast

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session

from compat_auth.authn.airflow2.stand_ins.host import current_host
from compat_auth.authn.users.directories import load_user_directories
from compat_auth.errors import BackendUnavailable


class _HasEngine(Protocol):
    def engine(self) -> Any:
        """Return SQLAlchemy's engine."""
        ...


# With what a statement that only reads may begin. SQLite's PRAGMA and a function with side effects are not stopped here:
# the connections of `[airflow_db]` are themselves read only, but for MySQL, whose transaction is.
_READING = frozenset(("select", "with", "show", "explain", "describe", "values", "begin", "rollback", "savepoint"))
_WRITING = re.compile(
    r"\b(insert|update|delete|merge|replace)\s+(into|from|\S+\s+set\b)|\bfor\s+update\b", re.IGNORECASE
)
_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)


def _refuse_writing(*_: Any) -> None:
    raise BackendUnavailable("a module of Airflow 2 writes into Airflow's database, which is read only here")


def _judge_statement(
    _connection: Any, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool
) -> None:
    """Refuse a statement that does not only read, raw SQL, too."""
    text = _COMMENT.sub(" ", statement).lstrip(" \t\r\n(")
    first = text.partition(" ")[0].partition("\n")[0].lower().rstrip(";")
    if first not in _READING or ";" in text.rstrip("; \t\r\n") or _WRITING.search(text):
        _refuse_writing()


@contextmanager
def create_session(*_args: Any, **_kwargs: Any) -> Generator[Session]:
    """Yield a session on the database of `[airflow_db] url`, which never writes, in the way of raw SQL neither.

    Raises:
        BackendUnavailable: No database is configured, it cannot be asked, or the module writes.
    """
    with _ReadingSession(_engine().connect()) as session:
        yield session


class _ReadingSession(Session):
    """A session that owns its one connection, and writes nothing."""

    def __init__(self, connection: Connection) -> None:
        if connection.dialect.name == "mysql":
            connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
            connection.rollback()
        event.listen(connection, "before_cursor_execute", _judge_statement)
        super().__init__(connection, autoflush=False)
        self._connection = connection
        event.listen(self, "before_flush", _refuse_writing)

    def commit(self) -> None:
        """End the transaction; there is nothing to write."""
        self.rollback()

    def close(self) -> None:
        """End the transaction, and give the connection back."""
        super().close()
        if not self._connection.closed:
            event.remove(self._connection, "before_cursor_execute", _judge_statement)
            self._connection.rollback()
            if self._connection.dialect.name == "mysql":
                self._connection.exec_driver_sql("SET SESSION TRANSACTION READ WRITE")
                self._connection.rollback()
            self._connection.close()


def new_session(*_args: Any, **_kwargs: Any) -> Session:
    """Return a session like that of `create_session`, which the module closes (`airflow.settings.Session`).

    Raises:
        BackendUnavailable: No database is configured, or it cannot be asked.
    """
    return _ReadingSession(_engine().connect())


def _engine() -> Any:
    settings = current_host().settings
    if not settings.airflow_db.url.get_secret_value():
        raise BackendUnavailable("a module of Airflow 2 reads Airflow's database; set [airflow_db] url")
    return cast("_HasEngine", load_user_directories(["airflow_db"], settings)[0]).engine()


def provide_session(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with a session for its parameter `session`, where the caller gives none."""
    position = list(inspect.signature(function).parameters).index("session")

    @functools.wraps(function)
    def provided(*args: Any, **kwargs: Any) -> Any:
        if "session" in kwargs or position < len(args):
            return function(*args, **kwargs)
        with create_session() as session:
            return function(*args, session=session, **kwargs)

    return provided

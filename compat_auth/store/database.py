"""The database, SQLite or PostgreSQL, opened at first use in each process.

A connection never crosses a fork. A write is on disk when its block ends: `kill -9` loses nothing.
"""

from __future__ import annotations

import importlib.util
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from compat_auth.concurrency.circuit_breaker import PATIENCE_S, CircuitBreaker
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.net.postgresql import STATEMENT_TIMEOUT_S, answering, open_postgresql
from compat_auth.store.sqlite_file import SqliteFile

CONNECT_TIMEOUT_S = 5
# How long the tables are assumed unchanged, although other programs may change them.
FIT_S = 5.0
_WRITES = "compat_auth_writes"


class Database:
    """Connections to `database_url`. Any thread may use it.

    Args:
        url: SQLAlchemy URL.
        prepare: Called once in each process with a writable connection, before anything else.
        require_fit: Called from time to time with a connection; raises BackendUnavailable where another program has
            changed the tables so that this program cannot use them.
        makes: Create an SQLite file that never existed, even where the URL says `mode=rw`.
        monotonic: Clock, in seconds.

    Attributes:
        label: Name of the database for messages, without secrets.
        file: The file of an SQLite database, or None.

    Raises:
        ConfigError: The URL is malformed, names an unsupported database, or its driver is not installed.
    """

    def __init__(
        self,
        url: str,
        prepare: Callable[[Connection], None] | None = None,
        require_fit: Callable[[Connection], None] | None = None,
        *,
        makes: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = _read_url(url)
        self._prepare = prepare
        self._require_fit = require_fit
        self._monotonic = monotonic
        self._found_fit_at = float("-inf")
        self.label = f"{self._url.get_backend_name()}://{self._url.host or ''}/{self._url.database or ''}"
        is_sqlite = self._url.get_backend_name() == "sqlite"
        self.file = Path(self._url.database or "") if is_sqlite else None
        may_make = makes or self._url.query.get("mode") != "rw"
        self._sqlite = None if self.file is None else SqliteFile(self.file, makes=may_make)
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._pid = 0
        self._preparing = threading.Lock()
        self._is_prepared = False
        self._circuit_breaker = CircuitBreaker.of(f"{self.label} {self._url.port or ''} {self._url.username or ''}")

    @property
    def is_there(self) -> bool:
        """Whether there is a database to ask; false for an SQLite file that never existed."""
        return self._sqlite is None or self._sqlite.is_there

    @contextmanager
    def read(self) -> Generator[Connection]:
        """Yield a connection inside one transaction.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        with self._transaction(self._ready_engine, writes=False) as connection:
            yield connection

    @contextmanager
    def write(self) -> Generator[Connection]:
        """Yield a connection inside one transaction, which is committed when the block ends without an error.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        with self._transaction(self._ready_engine, writes=True) as connection:
            yield connection

    def accept(self) -> None:
        """Accept the file that is there now, or the next one that is created, as the store; closes the connections.

        Raises:
            BackendUnavailable: The change cannot be stored.
        """
        self.close()
        if self._sqlite is not None:
            self._sqlite.accept()

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        with self._lock:
            if self._engine is not None:
                _dispose(self._engine, self._pid)
                self._engine = None

    @contextmanager
    def _transaction(self, engine: Callable[[], Engine], *, writes: bool) -> Generator[Connection]:
        try:
            self._require_same()
            with self._connect(engine(), writes=writes) as connection, connection.begin():
                _limit(connection)
                self._check_tables(connection)
                yield connection
            if writes:
                # A write to a file that was deleted in the meantime is lost.
                self._require_same()
        except (SQLAlchemyError, OSError) as exc:
            why = str(exc) if isinstance(exc, ConnectionError) else type(exc).__name__
            raise BackendUnavailable(
                f"database_url {self.label}: cannot be asked ({why}); "
                "check that the database runs and may be written, and see: compat-auth db check"
            ) from exc

    def _check_tables(self, connection: Connection) -> None:
        # A newer replica may migrate the tables while this program runs.
        now = self._monotonic()
        if self._require_fit is not None and now - self._found_fit_at >= FIT_S:
            self._require_fit(connection)
            self._found_fit_at = now

    def _require_same(self) -> None:
        if self._sqlite is not None:
            self._sqlite.require_same()

    def _ready_engine(self) -> Engine:
        engine = self._engine_of_process()
        if self._prepare is None or self._is_prepared:
            return engine
        # Another process may be migrating: a few callers wait for that, the others must try again.
        if not self._preparing.acquire(timeout=PATIENCE_S):
            raise BackendUnavailable(f"database_url {self.label}: its tables are still being checked; try again")
        try:
            if not self._is_prepared:
                with self._connect(engine, writes=True) as connection, connection.begin():
                    self._prepare(connection)
                self._is_prepared = True
        finally:
            self._preparing.release()
        return engine

    def _connect(self, engine: Engine, *, writes: bool) -> AbstractContextManager[Connection]:
        options = {_WRITES: writes}
        if self.file is not None:
            return engine.connect().execution_options(**options)
        return answering(engine, self._circuit_breaker, **options)

    def _engine_of_process(self) -> Engine:
        with self._lock:
            if self._engine is None or self._pid != os.getpid():
                if self._engine is not None:
                    # These connections belong to the parent process.
                    self._engine.dispose(close=False)
                self._engine = (
                    open_postgresql(self._url, max_overflow=6) if self._sqlite is None else _open_sqlite(self._sqlite)
                )
                self._pid, self._is_prepared = os.getpid(), False
                # Close the connections when the store is deleted, not when their garbage collector runs.
                weakref.finalize(self, _dispose, self._engine, self._pid).atexit = False
            return self._engine


def _dispose(engine: Engine, pid: int) -> None:
    # Closing an inherited connection would end it for the parent process too.
    engine.dispose(close=pid == os.getpid())


def _read_url(value: str) -> URL:
    if not value:
        raise ConfigError(
            "database_url: empty; write sqlite:////absolute/path/compat_auth.db or postgresql+psycopg://…"
        )
    if value.startswith(("postgres://", "postgres+")):
        value = value.replace("postgres", "postgresql", 1)
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        # Not `from`: the message may repeat the URL, and so the password.
        raise ConfigError("database_url: not a database URL; write sqlite:///FILE or postgresql+psycopg://…") from None
    match url.get_backend_name():
        case "sqlite":
            if not url.database or url.database == ":memory:":
                # Every worker would have its own store, and lose it at exit.
                raise ConfigError("database_url: names no file; write sqlite:////absolute/path/compat_auth.db")
            return url
        case "postgresql":
            if importlib.util.find_spec("psycopg") is None:
                raise ConfigError(
                    "database_url: no PostgreSQL driver; install compat_auth with its extra 'postgresql' (README: Install)"
                )
            return url.set(drivername="postgresql+psycopg")
        case other:
            raise ConfigError(f"database_url: {other}: only sqlite and postgresql are supported; write one of them")


def _limit(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Not as a start-up option, because PgBouncer refuses those.
        connection.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_S}s'"))


def _open_sqlite(file: SqliteFile) -> Engine:
    engine = create_engine(
        "sqlite://",
        creator=file.open,
        hide_parameters=True,
        poolclass=QueuePool,
        pool_size=2,
        max_overflow=6,
        pool_timeout=CONNECT_TIMEOUT_S,
    )
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later can fail even after a long wait: take the write lock at once.
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

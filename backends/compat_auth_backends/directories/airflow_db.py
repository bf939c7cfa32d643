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

from sqlalchemy.engine import Connection, Engine, Row
from sqlalchemy.exc import SQLAlchemyError

from compat_auth.config import Settings
from compat_auth.databases import STATEMENT_TIMEOUT_S, answering
from compat_auth.directory import DirectoryUser
from compat_auth.errors import BackendUnavailable
from compat_auth.passwords import decoy_like
from compat_auth.resilience import CircuitBreaker
from compat_auth_backends.directories.airflow_db_statements import TIME_LIMIT, Statements
from compat_auth_backends.directories.airflow_db_url import make_engine, read_url

T = TypeVar("T")

# How old the idea may be of what the users' hashes cost.
DECOY_MAX_AGE_S = 300.0
# Beyond this PostgreSQL's INTEGER has no number.
_MAX_ID_DIGITS = 9


class AirflowDatabaseDirectory:
    """The users and hashes that Airflow's FAB stored."""

    name = "airflow_db"
    is_server = True
    needs = ("[airflow_db] url",)
    answers_without_flask = True

    def __init__(self, url: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._url = read_url(url)
        # Never the user name, password or query: they may hold secrets.
        self._label = f"{self._url.get_backend_name()}://{self._url.host or ''}/{self._url.database or ''}"
        self._is_mysql = self._url.get_backend_name() == "mysql"
        self._statements = Statements(is_mysql=self._is_mysql)
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
        taken = self._statements.taken
        return self._ask(lambda connection: connection.scalar(taken, {"address": address})) is not None

    def find_by_id(self, upstream_id: str) -> DirectoryUser | None:
        """Return the user of that key, active or not; None if unknown.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        if not (upstream_id.isascii() and upstream_id.isdigit()) or len(upstream_id) > _MAX_ID_DIGITS:
            return None

        def ask(connection: Connection) -> DirectoryUser | None:
            row = connection.execute(self._statements.by_id, {"id": int(upstream_id)}).one_or_none()
            return None if row is None else self._describe(connection, row)

        return self._ask(ask)

    def has_role(self, name: str) -> bool:
        """Return whether there is a role of that name.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        role_id = self._statements.role_id
        return self._ask(lambda connection: connection.scalar(role_id, {"name": name})) is not None

    def engine(self) -> Engine:
        """Return SQLAlchemy's engine on the database, for reading."""
        return self._engine_of_process()

    def anybody(self) -> DirectoryUser | None:
        """Return the active user with the lowest number, or None if there is none.

        Raises:
            BackendUnavailable: The database could not be asked.
        """

        def ask(connection: Connection) -> DirectoryUser | None:
            row = connection.execute(self._statements.first_active).one_or_none()
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
        alive, values = self._statements.session, {"session_id": session_id, "now": now}

        def ask(connection: Connection) -> bytes | None:
            data: bytes | None = connection.scalar(alive, values)
            return data

        return self._ask(ask)

    def decoy(self) -> str:
        """Return a hash of no password, as costly to check as the costliest of the newest users'.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        if self._monotonic() - self._decoy_made > DECOY_MAX_AGE_S:
            newest = self._statements.newest_hashes
            sample = self._ask(lambda connection: connection.scalars(newest).all())
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
        query = self._statements.by_name_or_email if "email" in columns else self._statements.by_name

        def ask(connection: Connection) -> DirectoryUser | None:
            found = connection.execute(query, {"typed": typed})
            # A comparison in MySQL ignores spaces at the end.
            rows = [row for row in found if not self._is_mysql or _is_exact(row, typed)]
            for column in columns:
                known = [row for row in rows if getattr(row, f"by_{column}")]
                if known:
                    # Two users: nobody can say whose password it would have to be, so it is nobody's.
                    return (
                        self._describe(connection, known[0]) if len(known) == 1 else DirectoryUser(typed, active=False)
                    )
            return None

        return self._ask(ask)

    def _describe(self, connection: Connection, row: Row[Any]) -> DirectoryUser:
        return DirectoryUser(
            row.username,
            active=row.active is True,
            password_hash=row.password or "",
            email=row.email or "",
            roles=tuple(sorted(connection.scalars(self._statements.role_names, {"id": row.id}))),
            upstream_id=str(row.id),
        )

    def _ask(self, ask: Callable[[Connection], T]) -> T:
        try:
            with self._connect() as connection, connection.begin():
                if connection.dialect.name == "postgresql":
                    # Not as a start-up option: PgBouncer, which Airflow's Helm chart brings, refuses those.
                    connection.execute(TIME_LIMIT, {"limit": f"{STATEMENT_TIMEOUT_S}s"})
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

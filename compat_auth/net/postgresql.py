"""Connections to a PostgreSQL that may be unavailable or hang: no caller waits for it longer than its time limit.

`connect_timeout` limits the connection and `statement_timeout` the work of the server. Neither helps against a frozen
server: its kernel acknowledges every packet. So each query has a deadline here, after which the connection is cut.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.pool import QueuePool

from compat_auth.concurrency.circuit_breaker import CircuitBreaker
from compat_auth.net.answer_deadline import AnswerDeadline, answer_deadline

CONNECT_TIMEOUT_S = 5
# Set before each transaction: the server cancels a longer statement with an error.
STATEMENT_TIMEOUT_S = 5
# A server that answers nothing at all has this long for a trivial question, and this long for any other.
PING_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = STATEMENT_TIMEOUT_S + 2.0
POOL_TIMEOUT_S = 2
_TESTED = "compat_auth_tested"
_DEADLINE = "compat_auth_deadline"


def open_postgresql(url: URL, *, max_overflow: int) -> Engine:
    """Return an engine whose kept connections are tested, within three seconds, before they are used again.

    Args:
        url: With the driver psycopg or psycopg2.
        max_overflow: Connections beyond two; they are not kept.
    """
    limits: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        # For packets that are dropped: so long the kernel waits for an acknowledgement.
        "tcp_user_timeout": int(1000 * ANSWER_TIMEOUT_S),
        "keepalives_idle": 30,
    }
    if url.drivername.endswith("+psycopg"):
        limits["prepare_threshold"] = None  # a prepared statement does not survive PgBouncer
    engine = create_engine(
        url,
        connect_args=limits,
        hide_parameters=True,
        pool_recycle=1800,
        poolclass=QueuePool,
        pool_size=2,
        max_overflow=max_overflow,
        pool_timeout=POOL_TIMEOUT_S,
    )
    keep_tested(engine)
    return engine


def keep_tested(engine: Engine) -> None:
    """Test a kept connection, within `PING_TIMEOUT_S`, before it is used again; all are closed if one is broken."""

    def test(raw: Any, record: Any, _proxy: Any) -> None:
        if _TESTED not in record.info:
            # It has just been opened. SQLAlchemy clears this when it opens another connection in its place.
            record.info[_TESTED] = True
            return
        dialect: Any = engine.dialect
        with answer_deadline(_fileno(raw), PING_TIMEOUT_S) as deadline:
            try:
                dialect.do_ping(raw)
            except dialect.loaded_dbapi.Error as exc:
                if deadline.is_over:
                    raise ConnectionError(f"no answer within {PING_TIMEOUT_S:g} s") from exc
                # The server has closed it, and so all others: a new one may well work.
                raise InvalidatePoolError from exc

    event.listen(engine, "checkout", test)


@contextmanager
def answering(engine: Engine, outage: CircuitBreaker, **options: Any) -> Generator[Connection]:
    """Yield a connection to a server that answers each query in time.

    Args:
        engine: From `open_postgresql` or `open_mysql`.
        outage: The server's circuit breaker.
        options: Execution options.

    Raises:
        ConnectionError: The server cannot be reached, or has not answered in time, now or a moment ago.
    """
    with outage.trying():
        try:
            connection = engine.connect()
        except (DBAPIError, ConnectionError) as exc:
            # What is kept was opened to the same server.
            engine.dispose()
            raise ConnectionError(_why(exc)) from exc
        with connection.execution_options(**options), _each_question(connection) as deadline:
            try:
                yield connection
            except DBAPIError as exc:
                if not (exc.connection_invalidated or deadline.is_over):
                    raise
                engine.dispose()
                raise ConnectionError(
                    f"no answer within {ANSWER_TIMEOUT_S:g} s" if deadline.is_over else _why(exc)
                ) from exc


def lift_time_limits(connection: Connection) -> None:
    """Let a transaction take as long as it needs: the limits are for queries, not for migrations."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        deadline: AnswerDeadline | None = connection.info.get(_DEADLINE)
        if deadline is not None:
            deadline.lift()


@contextmanager
def _each_question(connection: Connection) -> Generator[AnswerDeadline]:
    raw: Any = connection.connection.dbapi_connection
    with answer_deadline(_fileno(raw), ANSWER_TIMEOUT_S) as deadline:

        def restart(*_: Any) -> None:
            deadline.restart()

        connection.info[_DEADLINE] = deadline
        for moment in ("before_cursor_execute", "commit"):
            event.listen(connection, moment, restart)
        yield deadline


def _fileno(raw: Any) -> int:
    # PyMySQL has no public name for its socket.
    found: int = raw.fileno() if hasattr(raw, "fileno") else raw._sock.fileno()  # noqa: SLF001
    return found


def _why(exc: Exception) -> str:
    return str(exc) if isinstance(exc, ConnectionError) else type(exc).__name__

"""`airflow.utils.db` and `airflow.settings.Session` for a module: sessions on Airflow's database that only read."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

from sqlalchemy import event
from sqlalchemy.orm import Session

from compat_auth.authn.airflow2.stand_ins.host import current_host
from compat_auth.authn.users.directories import load_user_directories
from compat_auth.errors import BackendUnavailable


class _HasEngine(Protocol):
    def engine(self) -> Any:
        """Return SQLAlchemy's engine."""
        ...


def _refuse_writing(*_: Any) -> None:
    raise BackendUnavailable("a module of Airflow 2 writes into Airflow's database, which is read only here")


@contextmanager
def create_session(*_args: Any, **_kwargs: Any) -> Iterator[Session]:
    """Yield a session on the database of `[airflow_db] url`, which never writes.

    Raises:
        BackendUnavailable: No database is configured, it cannot be asked, or the module writes.
    """
    settings = current_host().settings
    if not settings.airflow_db.url.get_secret_value():
        raise BackendUnavailable("a module of Airflow 2 reads Airflow's database; set [airflow_db] url")
    directory = cast("_HasEngine", load_user_directories(["airflow_db"], settings)[0])
    with Session(directory.engine(), autoflush=False) as session:
        event.listen(session, "before_flush", _refuse_writing)
        yield session
        session.rollback()


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

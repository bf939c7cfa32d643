"""The URL of Airflow's own database, and read-only connections to it: SQLite, PostgreSQL, MySQL and MariaDB."""

from __future__ import annotations

import importlib.util
import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import create_engine
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

from compat_auth.databases import open_mysql, open_postgresql, read_mysql_url
from compat_auth.errors import ConfigError

CONNECT_TIMEOUT_S = 5
_WHERE = "airflow_db.url"
_POOL = {
    "poolclass": QueuePool,
    "pool_size": 2,
    "max_overflow": 4,
    "pool_timeout": CONNECT_TIMEOUT_S,
    "pool_pre_ping": True,
}


def read_url(text: str) -> URL:
    """Return the URL with our driver.

    Args:
        text: The URL as in Airflow's `sql_alchemy_conn`.

    Raises:
        ConfigError: It is no URL, names another kind of database, or the driver is not installed.
    """
    if not text:
        raise ConfigError("airflow_db.url: empty; copy sql_alchemy_conn from the [database] section of airflow.cfg")
    # SQLAlchemy 2 no longer knows the old name, which Airflow 2 and many hosts still write.
    if text.startswith(("postgres://", "postgres+")):
        text = text.replace("postgres", "postgresql", 1)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Not `from`: the message may repeat the URL, and so the password.
        raise ConfigError("airflow_db.url: not a database URL; copy sql_alchemy_conn from airflow.cfg") from None
    match url.get_backend_name():
        case "sqlite":
            if not url.database or url.database == ":memory:":
                raise ConfigError("airflow_db.url: names no file; write sqlite:////absolute/path/airflow.db")
            return url
        case "postgresql":
            return url.set(drivername=f"postgresql+{_postgresql_driver(url)}")
        case "mysql" | "mariadb":
            return read_mysql_url(url, _WHERE)
        case other:
            raise ConfigError(
                f"airflow_db.url: {other}: not supported; write a URL of sqlite, postgresql, mysql or mariadb"
            )


def make_engine(url: URL) -> Engine:
    """Return an engine for a URL from `read_url`; its connections cannot write."""
    if url.get_backend_name() == "sqlite":
        location = f"file:{quote(str(Path(url.database or '').absolute()))}?mode=ro"
        return create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(location, uri=True, timeout=CONNECT_TIMEOUT_S, check_same_thread=False),
            hide_parameters=True,
            **_POOL,
        )
    if url.get_backend_name() == "mysql":
        return open_mysql(url, max_overflow=4)
    return open_postgresql(url, max_overflow=4).execution_options(postgresql_readonly=True)


def _postgresql_driver(url: URL) -> str:
    wanted = "psycopg2" if url.drivername.endswith("+psycopg2") else "psycopg"
    for driver in (wanted, "psycopg"):
        if importlib.util.find_spec(driver):
            return driver
    raise ConfigError(
        "airflow_db.url: no PostgreSQL driver; install compat_auth with its extra 'postgresql' (README: Install)"
    )

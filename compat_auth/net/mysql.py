"""Connections to a MySQL or MariaDB that may be unavailable or hang: no caller waits for it longer than its time limit.

The driver is always PyMySQL: Airflow's own, mysqlclient, is compiled against a library without time limits.
The limits are those of `postgresql`; if the server does not answer at all, the connection is cut.
"""

from __future__ import annotations

import importlib.util
import ssl
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine
from sqlalchemy.pool import QueuePool

from compat_auth.errors import ConfigError
from compat_auth.net.postgresql import (
    ANSWER_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    POOL_TIMEOUT_S,
    STATEMENT_TIMEOUT_S,
    keep_tested,
)

DEFAULT_PORT = 3306
# Executable comments: the first is MariaDB's, the second MySQL's, and neither reads the other's.
# lock_wait_timeout: a table that somebody changes is waited for outside the time of a statement.
_LIMITS = (
    f"SET SESSION lock_wait_timeout = {STATEMENT_TIMEOUT_S}"
    f" /*M!100101 , max_statement_time = {STATEMENT_TIMEOUT_S} */"
    f" /*!50708 , max_execution_time = {1000 * STATEMENT_TIMEOUT_S} */"
)
_READ_ONLY = "SET SESSION TRANSACTION READ ONLY"
# What mysqlclient reads in a URL. Of these, the ones without a meaning here change nothing that is read.
_IGNORED = frozenset({"charset", "use_unicode", "binary_prefix", "connect_timeout", "autocommit"})
_FILES = frozenset({"ssl_ca", "ssl_cert", "ssl_key"})
_KNOWN = frozenset({"unix_socket", "ssl_mode", *_FILES})
# By MySQL's own names for them. PREFERRED is the default: encrypted where the server and PyMySQL (from 1.2 on) can.
_MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")


def require_driver(where: str) -> None:
    """Check that the driver is installed.

    Raises:
        ConfigError: It is not.
    """
    if importlib.util.find_spec("pymysql") is None:
        raise ConfigError(f"{where}: no MySQL driver; install compat_auth with its extra 'mysql' (README: Install)")


def read_mysql_url(url: URL, where: str) -> URL:
    """Return the URL for PyMySQL, whichever driver it names.

    Args:
        url: Of `mysql` or `mariadb`.
        where: The setting, for messages.

    Raises:
        ConfigError: No driver, no database, or an unknown parameter.
    """
    require_driver(where)
    if not url.database:
        raise ConfigError(f"{where}: names no database; write mysql://USER:PASSWORD@HOST/DATABASE")
    for name, value in url.query.items():
        if name not in _KNOWN | _IGNORED:
            raise ConfigError(
                f"{where}: parameter {name!r} is not understood; understood: {', '.join(sorted(_KNOWN))}; remove it"
            )
        if not isinstance(value, str):
            raise ConfigError(f"{where}: parameter {name!r} is there twice; remove one")
    mode = _mode_of(_parameters(url))
    if mode not in _MODES:
        raise ConfigError(f"{where}: ssl_mode: not one of {', '.join(_MODES)}")
    return url.set(drivername="mysql+pymysql")


def open_mysql(url: URL, *, max_overflow: int) -> Engine:
    """Return an engine that reads only, and whose kept connections are tested before they are used again.

    Args:
        url: From `read_mysql_url`.
        max_overflow: Connections beyond two; they are not kept.
    """
    engine = create_engine(
        "mysql+pymysql://",
        creator=_connector(url),
        hide_parameters=True,
        pool_recycle=1800,
        poolclass=QueuePool,
        pool_size=2,
        max_overflow=max_overflow,
        pool_timeout=POOL_TIMEOUT_S,
    )

    def limit(raw: Any, _record: Any) -> None:
        with raw.cursor() as cursor:
            cursor.execute(_LIMITS)
            cursor.execute(_READ_ONLY)
        raw.commit()

    event.listen(engine, "connect", limit, insert=True)
    keep_tested(engine)
    return engine


def _connector(url: URL) -> Callable[[], Any]:
    parameters = _parameters(url)
    arguments: dict[str, Any] = {
        "host": url.host or "localhost",
        "port": url.port or DEFAULT_PORT,
        "user": url.username,
        # As bytes: of a text, PyMySQL would send Latin-1.
        "password": (url.password or "").encode(),
        "database": url.database,
        "charset": "utf8mb4",
        "connect_timeout": CONNECT_TIMEOUT_S,
        "read_timeout": ANSWER_TIMEOUT_S,
        "write_timeout": ANSWER_TIMEOUT_S,
        # A server may ask for any file of the client; it gets none.
        "local_infile": False,
    }
    if "unix_socket" in parameters:
        arguments["unix_socket"] = parameters["unix_socket"]

    def connect() -> Any:
        mode = _mode_of(parameters)
        kind = _connection_type(requires_tls=mode not in ("DISABLED", "PREFERRED"))
        return kind(**arguments, ssl=_context(mode, parameters), ssl_disabled=mode == "DISABLED")

    return connect


@cache
def _connection_type(*, requires_tls: bool) -> Callable[..., Any]:
    """Return PyMySQL's connection; one that requires TLS sends nothing to a server that says it has none.

    PyMySQL before 1.2 then continues unencrypted, whatever the options require.
    """
    import pymysql  # noqa: PLC0415  # an extra
    from pymysql.constants import CLIENT, CR  # noqa: PLC0415

    plain: Any = pymysql.connections.Connection

    class Encrypted(plain):  # type: ignore[misc]  # generic in its types alone
        server_capabilities: int

        def _request_authentication(self) -> None:
            if not self.server_capabilities & CLIENT.SSL:
                raise pymysql.OperationalError(
                    CR.CR_SSL_CONNECTION_ERROR, "ssl_mode requires TLS, and the server has none"
                )
            inherited: Any = super()
            inherited._request_authentication()  # noqa: SLF001  # the one place between greeting and password

    return Encrypted if requires_tls else plain


def _parameters(url: URL) -> Mapping[str, str]:
    return {name: value for name, value in url.query.items() if isinstance(value, str)}


def _mode_of(parameters: Mapping[str, str]) -> str:
    """Return MySQL's mode of encryption; files for TLS require a server with a certificate of that authority."""
    if "ssl_mode" in parameters:
        return parameters["ssl_mode"].upper()
    return "VERIFY_CA" if _FILES.intersection(parameters) else "PREFERRED"


def _context(mode: str, parameters: Mapping[str, str]) -> ssl.SSLContext | None:
    if mode in ("DISABLED", "PREFERRED"):
        return None
    context = ssl.create_default_context(cafile=parameters.get("ssl_ca"))
    context.check_hostname = mode == "VERIFY_IDENTITY"
    if mode == "REQUIRED":
        context.verify_mode = ssl.CERT_NONE
    if "ssl_cert" in parameters:
        context.load_cert_chain(parameters["ssl_cert"], parameters.get("ssl_key"))
    return context

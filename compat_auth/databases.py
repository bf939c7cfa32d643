"""Database connections whose every question has a deadline: PostgreSQL, and MySQL for reading.

A server that hangs costs a caller a few seconds, and the circuit breaker then spares the next callers the wait.
"""

from __future__ import annotations

from compat_auth.net.mysql import open_mysql, read_mysql_url
from compat_auth.net.postgresql import STATEMENT_TIMEOUT_S, answering, open_postgresql

__all__ = [
    "STATEMENT_TIMEOUT_S",
    "answering",
    "open_mysql",
    "open_postgresql",
    "read_mysql_url",
]

"""The database's tables and clock, and a round trip through Redis."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import text

from compat_auth.cli.doctor.peers.clocks import describe_clock
from compat_auth.cli.doctor.result import Result
from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable, CompatAuthError
from compat_auth.store.database import Database
from compat_auth.store.migration import revisions
from compat_auth.store.redis.client import RedisConnection

SCHEMA = "database schema"
_KEY = "compat_auth:doctor:"
_KEPT_S = 10
_SLOW_S = 0.25
_CLOCK_S = 60


def examine_schema(settings: Settings) -> Result | None:
    """Return whether the tables have the newest revision; None if the database cannot be asked, which `check` reports.

    Asked before anything else uses the database: the first use migrates the tables.
    """
    try:
        database = Database(settings.database_url.get_secret_value())
        if not database.is_there:
            return Result.okay(SCHEMA, "no tables yet; the gateway creates them", database.label)
        try:
            with database.read() as connection:
                found, newest = revisions(connection)
        finally:
            database.close()
    except CompatAuthError:
        return None
    if not found:
        return Result.okay(SCHEMA, "no tables yet; the gateway creates them", database.label)
    if found < newest:
        return Result(
            SCHEMA,
            "failure",
            f"its tables have revision {found}, and this version needs {newest}",
            database.label,
            "run: compat-auth db upgrade, or restart the gateway, which does the same",
        )
    state = "the newest" if found == newest else f"newer than {newest}, the newest of this version, which can use it"
    return Result.okay(SCHEMA, f"revision {found}, {state}", database.label)


def examine_database_clock(settings: Settings) -> Result:
    """Return how far the clocks differ; an SQLite file has none.

    Raises:
        BackendUnavailable: The database could not be asked.
    """
    database = Database(settings.database_url.get_secret_value())
    if database.file is not None:
        return Result.not_asked("clock database", "SQLite uses this machine's clock")
    try:
        with database.read() as connection:
            theirs = float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    finally:
        database.close()
    return describe_clock(
        "clock database", time.time() - theirs, limit_s=_CLOCK_S, why="sessions and tokens end early or late"
    )


def examine_redis(settings: Settings) -> Iterator[Result]:
    """Yield a round trip and the clock.

    Raises:
        BackendUnavailable: Redis could not be asked.
    """
    connection = RedisConnection(settings.redis_url.get_secret_value())
    key, value = _KEY + secrets.token_hex(8), secrets.token_hex(16)

    def work(redis: Any) -> tuple[object, list[int], float]:
        began = time.monotonic()
        redis.set(key, value, ex=_KEPT_S)
        found = redis.get(key)
        redis.delete(key)
        return found, list(redis.time()), time.monotonic() - began

    try:
        found, (seconds, micros), took_s = connection.insist(work)
    finally:
        connection.close()
    if found != value.encode():
        raise BackendUnavailable(
            f"redis_url: {connection.label} does not return a value that was just stored; name the server itself, not a "
            "replica that reads only"
        )
    where, text_ = connection.label, f"stores and returns a value in {took_s * 1000:.0f} ms"
    if took_s > _SLOW_S:
        yield Result(
            "redis round trip", "warning", text_, where, "place Redis near the gateway; each login waits for it"
        )
    else:
        yield Result.okay("redis round trip", text_, where)
    ahead_s = time.time() - (seconds + micros / 1e6)
    yield describe_clock("clock Redis", ahead_s, limit_s=_CLOCK_S, why="shared sessions and limits end early or late")

"""Migrate the tables to the newest revision; of any number of processes, one does it.

The name of a revision says which programs can use its tables: "0005" only those that know it, "0005_from_0003" all
whose newest revision is 0003 or later. So a program of the previous version, in a rolling upgrade or after a rollback,
can tell whether it may continue.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import String, column, inspect, select, table, text
from sqlalchemy.engine import Connection

from compat_auth.errors import ConfigError, NewerTables
from compat_auth.net.postgresql import lift_time_limits
from compat_auth.store.database import Database

VERSION_TABLE = "compat_auth_alembic_version"
# An arbitrary number that no other program uses as an advisory lock in the same database.
_ADVISORY_LOCK = 0x636F6D70
_TOLERANT = re.compile(r"[0-9]{4}_from_([0-9]{4})")
_NUMBER_LENGTH = 4


@dataclass(frozen=True, slots=True)
class Undone:
    """A revision that a downgrade would undo.

    Attributes:
        revision: Its name.
        holds: What its tables hold.
        below: The name of the previous revision, or "".
    """

    revision: str
    holds: str
    below: str


def upgrade(connection: Connection) -> None:
    """Bring the tables up to date, inside the connection's transaction.

    Raises:
        ConfigError: A newer version of this program has changed the tables, and this one cannot use them.
    """
    if is_current(connection):
        return
    _lock(connection)
    if not is_current(connection):
        command.upgrade(_config(connection), "head")


def downgrade(connection: Connection, target: str) -> None:
    """Migrate the tables to an older revision, inside the connection's transaction; deletes what newer tables hold.

    Args:
        connection: A writable connection.
        target: Number of the revision, such as "0002".

    Raises:
        ConfigError: See `undone_by`.
    """
    _lock(connection)
    undone = undone_by(connection, target)
    if undone:
        command.downgrade(_config(connection), undone[-1].below)


def undone_by(connection: Connection, target: str) -> tuple[Undone, ...]:
    """Return the revisions that a downgrade would undo, newest first.

    Args:
        connection: A connection.
        target: Number of the revision, such as "0002".

    Raises:
        ConfigError: The tables have no such older revision, or a newer version of this program has made them.
    """
    found, newest = revisions(connection)
    if found and found not in _known():
        raise ConfigError(
            f"database_url: its tables have revision {found}, but this version knows none after {newest}; "
            "run the db downgrade of the version of compat_auth that made them"
        )
    script = ScriptDirectory.from_config(_config())
    undone: list[Undone] = []
    for revision in script.iterate_revisions(found or "base", "base"):
        if revision.revision[:_NUMBER_LENGTH] == target:
            return tuple(undone)
        below = revision.down_revision
        undone.append(Undone(revision.revision, revision.doc, below if isinstance(below, str) else ""))
    numbers = ", ".join(one.revision[:_NUMBER_LENGTH] for one in undone) or "none, there are no tables"
    raise ConfigError(f"revision {target}: the tables never had it; they had: {numbers}")


def is_current(connection: Connection) -> bool:
    """Return whether the tables need no upgrade: they are up to date, or newer and still usable for this program.

    Raises:
        ConfigError: A newer version of this program has changed the tables, and this one cannot use them.
    """
    found, newest = revisions(connection)
    return found == newest or (bool(found) and found not in _known())


def revisions(connection: Connection) -> tuple[str, str]:
    """Return the revision of the tables, "" for none, and the newest one that this program knows.

    Raises:
        ConfigError: A newer version of this program has changed the tables, and this one cannot use them.
    """
    known = _known()
    newest = known[0] if known else ""
    found = _revision_of(connection)
    if found and found not in known and not _tolerates(found, newest):
        raise ConfigError(
            f"database_url: its tables have revision {found}, which this version does not know (newest here: {newest}); "
            "install the version of compat_auth that made them, or run that version's compat-auth db downgrade "
            f"{newest[:_NUMBER_LENGTH]}"
        )
    return found, newest


def open_store(url: str) -> Database:
    """Return the database for a URL; its tables are migrated at first use.

    Every use raises NewerTables, a BackendUnavailable, where a newer version of this program has changed the tables;
    use works again, without a restart, as soon as the tables are usable.

    Raises:
        ConfigError: The URL is malformed, names an unsupported database, or its driver is not installed.
    """
    return Database(url, _bring_up_to_date, _require_fit)


def require_known_tables(url: str) -> None:
    """Raise where a newer version of this program has changed the tables so that this one cannot use them.

    Raises:
        ConfigError: A newer version has.
        BackendUnavailable: The database could not be asked.
    """
    database = Database(url)
    if not database.is_there:
        return
    try:
        with database.read() as connection:
            revisions(connection)
    finally:
        database.close()


def _bring_up_to_date(connection: Connection) -> None:
    try:
        upgrade(connection)
    except ConfigError as error:
        raise NewerTables(str(error)) from error


def _require_fit(connection: Connection) -> None:
    try:
        is_fit = is_current(connection)
    except ConfigError as error:
        raise NewerTables(str(error)) from error
    if not is_fit:
        # Not upgraded here: an operator may be rolling back while this program still runs.
        raise NewerTables("database_url: its tables were migrated back to an older revision; restart this program")


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # A migration takes the time that it needs, in another process or here.
        lift_time_limits(connection)
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))


def _revision_of(connection: Connection) -> str:
    # Not with Alembic's MigrationContext, which logs each time: this runs every few seconds.
    if not inspect(connection).has_table(VERSION_TABLE):
        return ""
    return connection.scalar(select(column("version_num", String())).select_from(table(VERSION_TABLE))) or ""


def _tolerates(found: str, newest: str) -> bool:
    oldest = _TOLERANT.fullmatch(found)
    return oldest is not None and bool(newest) and oldest[1] <= newest[:_NUMBER_LENGTH]


@functools.cache
def _known() -> tuple[str, ...]:
    """Return the revisions that this program knows, newest first."""
    return tuple(revision.revision for revision in ScriptDirectory.from_config(_config()).walk_revisions())


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", "compat_auth.store:migrations")
    if connection is not None:
        config.attributes["connection"] = connection
    return config

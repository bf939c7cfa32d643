"""Bring the tables to the newest shape; however many processes try at once, one does it."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import Connection

from compat_auth.errors import ConfigError
from compat_auth.store.database import Database

VERSION_TABLE = "compat_auth_alembic_version"
# Any number that no other program takes for a lock of its own in the same database.
_ADVISORY_LOCK = 0x636F6D70


def upgrade(connection: Connection) -> None:
    """Bring the tables up to date, inside the connection's transaction.

    Raises:
        ConfigError: A newer version of this program has changed the tables.
    """
    if connection.dialect.name == "postgresql":
        # The time limit is for questions, not for the wait for another process's migration.
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        if is_current(connection):
            return
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
    if not is_current(connection):
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_current(connection: Connection) -> bool:
    """Return whether the tables are up to date.

    Raises:
        ConfigError: A newer version of this program has changed the tables.
    """
    found, newest = revisions(connection)
    return found == newest


def revisions(connection: Connection) -> tuple[str, str]:
    """Return the revision that the tables have, "" for none, and the newest that this program knows.

    Raises:
        ConfigError: A newer version of this program has changed the tables.
    """
    script = ScriptDirectory.from_config(_config())
    newest = script.get_current_head() or ""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    found = context.get_current_revision() or ""
    if found and found not in {revision.revision for revision in script.walk_revisions()}:
        raise ConfigError(
            f"database_url: its tables have revision {found}, which this version does not know (newest here: {newest}); "
            "install the version of compat_auth that made them"
        )
    return found, newest


def open_store(url: str) -> Database:
    """Return the database of that URL; its tables are brought up to date at its first use.

    Raises:
        ConfigError: The URL is malformed, of another database, or its driver is not installed.
    """
    return Database(url, upgrade)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "compat_auth.store:migrations")
    return config

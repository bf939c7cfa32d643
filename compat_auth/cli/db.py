"""`compat-auth db`: the tables in `database_url`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from compat_auth.cli import context
from compat_auth.cli.context import config_option, start_logging
from compat_auth.concurrency.clock import unix_now
from compat_auth.config import load_settings
from compat_auth.errors import ConfigError
from compat_auth.personal_tokens.peppers import pepper_file
from compat_auth.store.backup import backup_sqlite
from compat_auth.store.database import Database
from compat_auth.store.migration import downgrade as downgrade_tables
from compat_auth.store.migration import is_current, open_store, revisions, undone_by
from compat_auth.store.migration import upgrade as upgrade_tables
from compat_auth.store.restore import restore_sqlite, revoke_everything
from compat_auth.store.tables.usage import DAY_S, UsageRows
from compat_auth.tokens.issued import MAX_LIFETIME_S
from compat_auth.usage.recorder import prune_usage

_EVERYTHING_ENDED = "every earlier session and JWT is revoked"


@click.group()
def db() -> None:
    """Manage the database tables of the gateway."""


@db.command()
@config_option
def upgrade(config_path: str | None) -> None:
    """Create or upgrade the tables; safe to run twice, or on several machines at once."""
    start_logging("WARNING")
    database = Database(load_settings(config_path).database_url.get_secret_value(), makes=True)
    with database.write() as connection:
        before, _ = revisions(connection)
        upgrade_tables(connection)
        found, _ = revisions(connection)
    database.close()
    click.echo(f"{database.label}: revision {found}, " + ("as before" if before == found else "now up to date"))


@db.command()
@config_option
@click.option("--yes", is_flag=True, help="Delete the data of the newer revisions.")
@click.argument("revision", metavar="REVISION")
def downgrade(config_path: str | None, revision: str, yes: bool) -> None:
    """Downgrade the tables to REVISION, such as 0002, for an older version of the program; stop this version first."""
    start_logging("WARNING")
    database = Database(load_settings(config_path).database_url.get_secret_value())
    with database.write() as connection:
        undone = undone_by(connection, revision)
        if undone and not yes:
            lost = "; ".join(f"{one.revision}: {one.holds}" for one in undone)
            raise click.UsageError(f"this deletes the data of these revisions: {lost} Make a backup, then add --yes")
        downgrade_tables(connection, revision)
        found, _ = revisions(connection)
    database.close()
    click.echo(f"{database.label}: revision {found}, " + ("now" if undone else "as before"))


@db.command()
@config_option
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
def backup(config_path: str | None, target: Path) -> None:
    """Copy an SQLite database to FILE, even while it is in use; use pg_dump for PostgreSQL."""
    start_logging("WARNING")
    settings = load_settings(config_path)
    source = Database(settings.database_url.get_secret_value()).file
    if source is None:
        raise click.UsageError(
            "database_url is PostgreSQL: run pg_dump --format=custom --table='compat_auth_*' --file=FILE DATABASE"
        )
    size = backup_sqlite(source, target)
    click.echo(f"{target}: {size} bytes")
    section = settings.personal_tokens
    if not section.pepper.get_secret_value() and not section.peppers and (beside := pepper_file(settings)).exists():
        click.echo(
            f"{beside}: without it the personal tokens in the backup do not work; keep a copy in another place",
            err=True,
        )


@db.command()
@config_option
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
def restore(config_path: str | None, source: Path) -> None:
    """Replace the SQLite database by a backup, even while it is in use or if it is lost.

    Revocations since the backup stay in force if the old database can be read. If it cannot, every earlier session
    and JWT is revoked, and users log in again. If the file was lost, restart the gateway afterwards. For PostgreSQL use
    pg_restore, then `compat-auth db accept`.
    """
    start_logging("WARNING")
    database_url = load_settings(config_path).database_url.get_secret_value()
    if Database(database_url).file is None:
        raise click.UsageError(
            "database_url is PostgreSQL: run pg_restore --clean --if-exists --dbname=DATABASE FILE, and then: "
            "compat-auth db accept"
        )
    ended = restore_sqlite(database_url, source, now=unix_now(), lifetime_s=MAX_LIFETIME_S)
    context.record("store restored", str(source), command="db restore")
    result = _EVERYTHING_ENDED if ended is None else f"{ended.count} revocations of the old database are kept"
    click.echo(f"{source}: restored; {result}")


@db.command()
@config_option
@click.option(
    "--keep-logins", is_flag=True, help="No revocation is missing in the database: nobody has to log in again."
)
def accept(config_path: str | None, keep_logins: bool) -> None:
    """Accept the current database, or a new one, in place of a lost one.

    If its SQLite file is missing or was replaced, a gateway answers 503 to each request that needs it: revocations could
    be lost. The gateway does not notice that a PostgreSQL database was restored while no gateway ran. Put the right
    database back, or restore a backup. If you have neither, this command accepts the current database, and creates the
    tables if they are missing. Nobody knows what was revoked, so every earlier session and JWT is revoked. Personal
    tokens that were revoked since the backup work again: revoke them again. Restart the gateway afterwards.
    """
    start_logging("WARNING")
    database_url = load_settings(config_path).database_url.get_secret_value()
    database = Database(database_url, makes=True)
    database.accept()
    with database.write() as connection:
        upgrade_tables(connection)
    if not keep_logins:
        revoke_everything(database, now=unix_now(), lifetime_s=MAX_LIFETIME_S)
    database.close()
    context.record("store accepted", database.label, command="db accept")
    click.echo(f"{database.label}: accepted" + ("" if keep_logins else f"; {_EVERYTHING_ENDED}"))


@db.command()
@config_option
@click.option("--keep-days", type=click.IntRange(1), help="Days to keep; default [usage] retention_days.")
def prune(config_path: str | None, keep_days: int | None) -> None:
    """Delete the usage of days that are too old; a gateway does the same once a day."""
    start_logging("WARNING")
    settings = load_settings(config_path)
    rows = UsageRows(open_store(settings.database_url.get_secret_value()))
    kept = settings.usage.retention_days if keep_days is None else keep_days
    deleted = prune_usage(rows, unix_now() // DAY_S, retention_days=kept) if rows.is_there else 0
    rows.close()
    context.record("usage pruned", f"{kept} days kept", command="db prune")
    click.echo(f"usage of the last {kept} days kept; {deleted} older rows or months deleted")


@db.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="For programs: database, revision, newest, usable.")
def check(config_path: str | None, *, as_json: bool) -> None:
    """Exit 0 if this version can use the tables, 78 if it cannot, 69 if the database is not available."""
    start_logging("WARNING")
    database = Database(load_settings(config_path).database_url.get_secret_value())
    with database.read() as connection:
        found, newest = revisions(connection)
        is_fit = is_current(connection)
    database.close()
    if as_json:
        about = {"database": database.label, "revision": found or None, "newest": newest, "usable": is_fit}
        click.echo(json.dumps(about, ensure_ascii=False, indent=2))
        sys.exit(0 if is_fit else ConfigError.exit_code)
    if not is_fit:
        raise ConfigError(
            f"{database.label}: revision {found or 'none'}, and this version needs {newest}; run: compat-auth db upgrade"
        )
    state = "up to date" if found == newest else f"newer than this version's {newest}, which can also use it"
    click.echo(f"{database.label}: revision {found}, {state}")

"""Restore a backup of the store, without making valid again what was revoked since the backup."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import create_engine, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.store.database import Database
from compat_auth.store.migration import open_store, revisions
from compat_auth.store.schema import personal_tokens, revocations, sessions
from compat_auth.store.tables.denylist import DenylistEntry, DenylistRows, all_up_to
from compat_auth.store.tables.sessions import SessionRows

_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Ended:
    """The entries that a store records as revoked or deleted."""

    entries: list[DenylistEntry]
    sessions: dict[bytes, int]
    users: dict[str, int]
    tokens: dict[str, tuple[int, str]] = field(repr=False)

    @property
    def count(self) -> int:
        """Number of all records."""
        return len(self.entries) + len(self.sessions) + len(self.users) + len(self.tokens)


def restore_sqlite(url: str, source: Path, *, now: int, lifetime_s: int) -> Ended | None:
    """Restore a backup over the store, which may be in use or missing.

    Everything that the previous store has revoked stays revoked. If that store cannot be read, every session and every
    JWT that was issued up to now is revoked.

    Args:
        url: `database_url`, of an SQLite file.
        source: The backup.
        now: Seconds since the epoch.
        lifetime_s: The longest lifetime of a JWT, in seconds.

    Returns:
        What was carried over; None where the previous store could not be read.

    Raises:
        ConfigError: The backup is not a store, or is of a newer version; or the previous store is of a newer version.
        BackendUnavailable: The backup cannot be copied.
    """
    _require_store(source)
    ended = _ended_in(url)
    database = open_store(url)
    database.accept()
    target = Path(database.file or "")
    if ended is None:
        _set_aside(target)
    _copy(source, target)
    # The store now has the number of the backup.
    database.accept()
    if ended is None:
        revoke_everything(database, now=now, lifetime_s=lifetime_s)
    else:
        _end(database, ended)
    database.close()
    return ended


def revoke_everything(database: Database, *, now: int, lifetime_s: int) -> None:
    """Revoke every session, and every JWT issued up to now, because nobody knows which of them were revoked."""
    DenylistRows(database).revoke([all_up_to(now, now + lifetime_s)])
    SessionRows(database).revoke_everyone(now)


def _require_store(source: Path) -> None:
    if not source.is_file():
        raise ConfigError(f"{source}: there is no backup; name a file made by: compat-auth db backup")
    try:
        engine = create_engine("sqlite://", creator=lambda: _open_to_read(source), poolclass=NullPool)
        with engine.connect() as connection:
            result = connection.exec_driver_sql("PRAGMA integrity_check").scalar_one()
            # Raises where a newer version created it.
            found, _ = revisions(connection)
    except DBAPIError as exc:
        raise ConfigError(f"{source}: no SQLite database; name a file made by: compat-auth db backup") from exc
    if result != "ok" or not found:
        raise ConfigError(f"{source}: damaged, or not of compat_auth; name a file made by: compat-auth db backup")


def _open_to_read(source: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)


def _ended_in(url: str) -> Ended | None:
    database = open_store(url)
    if database.file is None or not database.file.is_file():
        return None
    try:
        found = DenylistRows(database).read(-1).found
        with database.read() as connection:
            ended = select(sessions.c.id_digest, sessions.c.ended).where(sessions.c.ended.is_not(None))
            revoked = select(personal_tokens.c.id, personal_tokens.c.revoked, personal_tokens.c.reason)
            return Ended(
                found,
                {bytes(row.id_digest): row.ended for row in connection.execute(ended)},
                {row.username: row.not_before for row in connection.execute(select(revocations))},
                {
                    row.id: (row.revoked, row.reason)
                    for row in connection.execute(revoked.where(personal_tokens.c.revoked.is_not(None)))
                },
            )
    except BackendUnavailable:
        return None
    finally:
        database.close()


def _set_aside(target: Path) -> None:
    """Rename a file that cannot be read, because SQLite would refuse to overwrite it."""
    suffix = secrets.token_hex(4)
    for end in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{target}{end}").rename(f"{target}.lost-{suffix}{end}")


def _copy(source: Path, target: Path) -> None:
    try:
        # Readable only for its owner from the start.
        os.close(os.open(target, os.O_RDWR | os.O_CREAT, 0o600))
        with (
            contextlib.closing(_open_to_read(source)) as reads,
            contextlib.closing(sqlite3.connect(target, timeout=_TIMEOUT_S)) as writes,
        ):
            # Page by page into the same file, so that workers with an open connection see the new content.
            reads.backup(writes)
    except (sqlite3.Error, OSError) as exc:
        raise BackendUnavailable(f"{target}: cannot be written ({exc}); stop the gateway and try again") from exc


def _end(database: Database, ended: Ended) -> None:
    DenylistRows(database).revoke(ended.entries)
    rows = SessionRows(database)
    with database.write() as connection:
        for digest, time in ended.sessions.items():
            mine = (sessions.c.id_digest == digest, sessions.c.ended.is_(None))
            connection.execute(update(sessions).where(*mine).values(ended=time))
        for token_id, (time, reason) in ended.tokens.items():
            alive = (personal_tokens.c.id == token_id, personal_tokens.c.revoked.is_(None))
            connection.execute(update(personal_tokens).where(*alive).values(revoked=time, reason=reason))
    for username, time in ended.users.items():
        rows.revoke_begun_before(username, time)

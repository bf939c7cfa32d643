"""Make a consistent copy of an SQLite store while others read and write it."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from pathlib import Path

from compat_auth.errors import BackendUnavailable, ConfigError

_TIMEOUT_S = 30


def backup_sqlite(source: Path, target: Path) -> int:
    """Write a copy with mode 0600, and return its size in bytes; the target appears complete or not at all.

    Raises:
        ConfigError: There is no store, or the target exists or cannot be written.
        BackendUnavailable: The copy could not be made, or is damaged.
    """
    if not source.is_file():
        raise ConfigError(f"database_url: {source}: there is no database yet; make one with: compat-auth db upgrade")
    aside = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        os.close(os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        _copy(source, aside)
        # link() fails where rename() would overwrite an older backup.
        os.link(aside, target)
    except FileExistsError:
        raise ConfigError(f"{target}: exists already; name another file") from None
    except OSError as exc:
        raise ConfigError(f"{target}: cannot be written ({exc.strerror}); name a file in a writable folder") from exc
    except sqlite3.Error as exc:
        raise BackendUnavailable(f"{source}: cannot be copied ({type(exc).__name__})") from exc
    finally:
        aside.unlink(missing_ok=True)
    return target.stat().st_size


def _copy(source: Path, aside: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(source, timeout=_TIMEOUT_S)) as reads,
        contextlib.closing(sqlite3.connect(aside)) as writes,
    ):
        reads.backup(writes)
        # A single file, without a journal beside it.
        writes.execute("PRAGMA journal_mode = DELETE")
        (result,) = writes.execute("PRAGMA integrity_check").fetchone()
    if result != "ok":
        raise BackendUnavailable(f"{source}: the copy is damaged, perhaps the database too; see: compat-auth db check")
    descriptor = os.open(aside, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

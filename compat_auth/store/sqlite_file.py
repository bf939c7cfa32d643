"""The file of an SQLite store, and a check that it stays the same store.

If the file were deleted or replaced, SQLite would silently create a new one, and revoked tokens would be valid again.
Therefore a store has a number in its header, a file beside it (the witness) repeats that number, and a process
remembers which file it has opened.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from compat_auth.crypto.private_file import written_aside
from compat_auth.crypto.strict_json import parse_object
from compat_auth.errors import BackendUnavailable, KeyFileError

_BUSY_TIMEOUT_S = 5
_OWNER_ONLY = 0o600
_MAX_NUMBER = 2**31 - 1  # of SQLite's application_id
_NEXT_STEP = "restore the right file, or see: compat-auth db accept --help"
_log = logging.getLogger("compat_auth.store")


@dataclass(slots=True)
class _Known:
    """The known state of a file: device and inode once it was opened, and whether it has been missing since."""

    lock: threading.Lock
    identity: tuple[int, int] | None = None
    is_lost: bool = False


# One entry for each file, however many objects open it: the first to open it decides which file is right. A forked
# process inherits the entries.
_KNOWN: dict[Path, _Known] = {}
_MAKING = threading.Lock()


class SqliteFile:
    """Opens connections to one SQLite file. Any thread may use it.

    Args:
        path: Path of the file.
        makes: Whether to create a file that never existed.
    """

    def __init__(self, path: Path, *, makes: bool = True) -> None:
        self.path = path.resolve()
        self.witness = witness_of(self.path)
        self._makes = makes
        with _MAKING:
            self._known = _KNOWN.setdefault(self.path, _Known(threading.Lock()))

    @property
    def is_there(self) -> bool:
        """Whether a store exists, existed or must exist; false only where nothing can ever have been stored."""
        if self._known.identity is not None or not self._makes:
            return True
        try:
            if self.path.exists() or self.witness.exists():
                return True
            # Where a volume is not mounted, its folder is missing too, or empty and not writable.
            return not os.access(self.path.parent, os.W_OK | os.X_OK) and not any(self.path.parent.iterdir())
        except OSError:
            return True

    def require_same(self) -> None:
        """Raise unless the file is the one that this process has opened, if it has opened one.

        Raises:
            BackendUnavailable: The file is missing or was replaced.
        """
        expected = self._known.identity
        if expected is None:
            return
        try:
            found = _identity(self.path.stat())
        except OSError as exc:
            raise self._lost(f"no longer exists ({exc.strerror})") from None
        if found != expected:
            raise self._lost("is not the file that was opened; after a restore, restart this program")
        if self._known.is_lost:
            self._known.is_lost = False
            _log.warning("database_url %s: available again", self.path)

    def open(self) -> sqlite3.Connection:
        """Return a new connection without a transaction; creates the file where that is allowed.

        Raises:
            BackendUnavailable: There was a store here, and this is another one.
            OSError, sqlite3.Error: The file cannot be created or opened.
        """
        with self._known.lock:
            self.require_same()
            self._make()
            # Autocommit: each user of the connection begins its own transactions.
            raw = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            try:
                _switch_to_wal(raw)
                raw.execute("PRAGMA foreign_keys = ON")
                # Commits reach the disk, not only the kernel, so that they survive a power failure.
                raw.execute("PRAGMA synchronous = FULL")
                if self._known.identity is None:
                    self._verify(raw)
                    self._known.identity = _identity(self.path.stat())
            except BaseException:
                raw.close()
                raise
            return raw

    def accept(self) -> None:
        """Forget which store was here: the next one that is opened or created is right.

        Raises:
            BackendUnavailable: The witness cannot be removed.
        """
        with self._known.lock:
            try:
                self.witness.unlink(missing_ok=True)
            except OSError as exc:
                raise BackendUnavailable(f"{self.witness}: cannot be removed ({exc.strerror})") from exc
            self._known.identity, self._known.is_lost = None, False

    def _make(self) -> None:
        if self.path.exists():
            return
        if self.witness.exists():
            raise self._lost(f"does not exist, but {self.witness.name} says that it did")
        if not self._makes:
            raise self._lost("does not exist, and mode=rw forbids creating it; create it with: compat-auth db upgrade")
        # Created with this mode; SQLite gives its journal the same. Only where there is no file yet: closing an
        # existing one releases every lock that this process holds on it (POSIX), and another process would then discard
        # what SQLite has not yet moved from the journal into the file.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _OWNER_ONLY))
            _log.info("database_url %s: created a new, empty store", self.path)

    def _verify(self, raw: sqlite3.Connection) -> None:
        number = _number_of(raw) or _number(raw)
        expected = self._expected()
        if expected is None:
            self._witness(number)
        elif expected != number:
            raise self._lost(f"is not the store of {self.witness.name}")

    def _expected(self) -> int | None:
        try:
            with self.witness.open("rb") as file:
                number = parse_object(file.read(1024)).get("store")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            raise self._lost(f"cannot be verified: {self.witness.name} cannot be read") from exc
        return number if type(number) is int else -1

    def _witness(self, number: int) -> None:
        content = json.dumps({"store": number}).encode() + b"\n"
        try:
            # The first process creates it; link() never overwrites one that is in use.
            with written_aside(self.witness, content) as aside, contextlib.suppress(FileExistsError):
                os.link(aside, self.witness)
        except KeyFileError as exc:
            _log.warning("%s; without it, the next start will not notice a lost store", exc)

    def _lost(self, what: str) -> BackendUnavailable:
        if not self._known.is_lost:
            self._known.is_lost = True
            _log.error("database_url %s: %s; %s", self.path, what, _NEXT_STEP)
        return BackendUnavailable(f"database_url {self.path}: {what}; {_NEXT_STEP}")


def witness_of(path: Path) -> Path:
    """Return the witness: the file beside a store that says which store it is."""
    return path.with_name(f"{path.name}.witness")


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _number_of(raw: sqlite3.Connection) -> int:
    (number,) = raw.execute("PRAGMA application_id").fetchone()
    return int(number)


def _number(raw: sqlite3.Connection) -> int:
    """Return the number of the store; the first process to open a new store sets it."""
    raw.execute("BEGIN IMMEDIATE")
    try:
        number = _number_of(raw) or 1 + secrets.randbelow(_MAX_NUMBER)
        raw.execute(f"PRAGMA application_id = {number}")
    except BaseException:
        raw.execute("ROLLBACK")
        raise
    raw.execute("COMMIT")
    return number


def _switch_to_wal(raw: sqlite3.Connection) -> None:
    # The switch needs exclusive access, and does not always honour SQLite's busy timeout.
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while not _is_wal(raw) and time.monotonic() < deadline:
        with contextlib.suppress(sqlite3.OperationalError):
            raw.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        time.sleep(0.02)


def _is_wal(raw: sqlite3.Connection) -> bool:
    return bool(raw.execute("PRAGMA journal_mode").fetchone() == ("wal",))

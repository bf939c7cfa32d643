"""The file of an SQLite store, which must stay the one that it was.

A file that is gone or replaced would be made anew by SQLite without a word, and what was revoked would be good again. So
a store has a number in its header, a file beside it (the witness) repeats that number, and a process remembers which file
it has opened.
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
_NEXT_STEP = "put the right one back, or see: compat-auth db accept --help"
_log = logging.getLogger("compat_auth.store")


@dataclass(slots=True)
class _Known:
    """What this process knows of a file: device and inode once it was opened, and whether it has been missed since."""

    lock: threading.Lock
    identity: tuple[int, int] | None = None
    is_lost: bool = False


# One for each file, however many open it: the first that opens it says which file is the right one. A forked process
# inherits them.
_KNOWN: dict[Path, _Known] = {}
_MAKING = threading.Lock()


class SqliteFile:
    """Opens connections to one file. Any thread may use it.

    Args:
        path: Of the file.
        makes: Whether a file that never was there is made.
    """

    def __init__(self, path: Path, *, makes: bool = True) -> None:
        self.path = path.resolve()
        self.witness = witness_of(self.path)
        self._makes = makes
        with _MAKING:
            self._known = _KNOWN.setdefault(self.path, _Known(threading.Lock()))

    @property
    def is_there(self) -> bool:
        """Whether there is or was a store, or has to be one; false only where nothing can ever have been kept."""
        if self._known.identity is not None or not self._makes:
            return True
        try:
            if self.path.exists() or self.witness.exists():
                return True
            # Where a volume is missing, its folder is missing, too, or empty and not ours to write.
            return not os.access(self.path.parent, os.W_OK | os.X_OK) and not any(self.path.parent.iterdir())
        except OSError:
            return True

    def require_same(self) -> None:
        """Return while the file is the one that this process has opened, or where it has opened none.

        Raises:
            BackendUnavailable: It is gone, or another is in its place.
        """
        expected = self._known.identity
        if expected is None:
            return
        try:
            found = _identity(self.path.stat())
        except OSError as exc:
            raise self._lost(f"is not there any more ({exc.strerror})") from None
        if found != expected:
            raise self._lost("is another file than the one that was opened; a restored store needs a restart")
        if self._known.is_lost:
            self._known.is_lost = False
            _log.warning("database_url %s: there again", self.path)

    def open(self) -> sqlite3.Connection:
        """Return a new connection, without a transaction; makes the file where there may be a new one.

        Raises:
            BackendUnavailable: There was a store here, and this is not the one.
            OSError, sqlite3.Error: The file cannot be made or opened.
        """
        with self._known.lock:
            self.require_same()
            self._make()
            # Autocommit: the transactions are begun by what they are for.
            raw = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            try:
                _switch_to_wal(raw)
                raw.execute("PRAGMA foreign_keys = ON")
                # Commits reach the disk, not only the kernel: what was answered stays true after a power cut.
                raw.execute("PRAGMA synchronous = FULL")
                if self._known.identity is None:
                    self._recognise(raw)
                    self._known.identity = _identity(self.path.stat())
            except BaseException:
                raw.close()
                raise
            return raw

    def accept(self) -> None:
        """Forget which store was here: the next one that is opened is the right one, or is made.

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
            raise self._lost(f"is not there, but {self.witness.name} says that it was")
        if not self._makes:
            raise self._lost("is not there, and mode=rw makes none; make it with: compat-auth db upgrade")
        # Born with this mode; SQLite gives its journal the same. Only where there is no file yet: to close one gives up
        # every lock that this process has on it (POSIX), and another would then throw away what SQLite has not yet
        # moved from the journal into the file.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _OWNER_ONLY))
            _log.info("database_url %s: a new store, with nothing in it", self.path)

    def _recognise(self, raw: sqlite3.Connection) -> None:
        number = _number_of(raw) or _number(raw)
        expected = self._expected()
        if expected is None:
            self._witness(number)
        elif expected != number:
            raise self._lost(f"is another store than the one of {self.witness.name}")

    def _expected(self) -> int | None:
        try:
            with self.witness.open("rb") as file:
                number = parse_object(file.read(1024)).get("store")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            raise self._lost(f"cannot be told from another: {self.witness.name} cannot be read") from exc
        return number if type(number) is int else -1

    def _witness(self, number: int) -> None:
        content = json.dumps({"store": number}).encode() + b"\n"
        try:
            # Whoever is first makes it; link() never overwrites one that is in use.
            with written_aside(self.witness, content) as aside, contextlib.suppress(FileExistsError):
                os.link(aside, self.witness)
        except KeyFileError as exc:
            _log.warning("%s; a store that is lost will not be missed at the next start", exc)

    def _lost(self, what: str) -> BackendUnavailable:
        if not self._known.is_lost:
            self._known.is_lost = True
            _log.error("database_url %s: %s; %s", self.path, what, _NEXT_STEP)
        return BackendUnavailable(f"database_url {self.path}: {what}; {_NEXT_STEP}")


def witness_of(path: Path) -> Path:
    """Return the file beside a store that says which store it is."""
    return path.with_name(f"{path.name}.witness")


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _number_of(raw: sqlite3.Connection) -> int:
    (number,) = raw.execute("PRAGMA application_id").fetchone()
    return int(number)


def _number(raw: sqlite3.Connection) -> int:
    """Return the number of a store that has none yet: whoever is first gives it."""
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
    # The switch needs the file alone and does not always wait for it as SQLite's busy timeout says.
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while not _is_wal(raw) and time.monotonic() < deadline:
        with contextlib.suppress(sqlite3.OperationalError):
            raw.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        time.sleep(0.02)


def _is_wal(raw: sqlite3.Connection) -> bool:
    return bool(raw.execute("PRAGMA journal_mode").fetchone() == ("wal",))

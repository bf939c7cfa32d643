"""The file of `audit.file`, and how the audit log of this process is written."""

from __future__ import annotations

import logging
import os
import stat
import sys
from pathlib import Path
from typing import TextIO

from compat_auth.audit import log
from compat_auth.audit.chain import OPTIONS, EventFormat
from compat_auth.audit.losses import LOSSES, AuditLosses, LogHandler, refuse_without_log
from compat_auth.errors import ConfigError

MIN_KEY_CHARACTERS = 32
_EVERYBODY = 0o007
_GROUP_TOO = 0o077


class AuditFile(LogHandler):
    """Appends to a file that only its owner may read; one that was moved away or deleted is opened again.

    The first event opens it: `compat-auth check`, which may run as another user, must not create it.

    Args:
        path: The file.

    Raises:
        ConfigError: It cannot be written.
    """

    def __init__(self, path: str) -> None:
        _require_writable(Path(path))
        super().__init__(sys.stderr, AuditLosses())
        LOSSES.add(self._losses)
        self._path = path
        self._is_open = False
        self.setFormatter(logging.Formatter("%(message)s"))

    def close(self) -> None:
        """Close the file."""
        super().close()
        LOSSES.remove(self._losses)
        if self._is_open:
            self._is_open = False
            self.stream.close()

    def _write(self, line: str) -> None:
        self._follow()
        super()._write(line)

    def _follow(self) -> None:
        """Open the file, unless the one that is open still has its name.

        Raises:
            OSError: It cannot be opened.
        """
        if self._is_open and _is_named(self.stream, self._path):
            return
        opened = _open(self._path)
        before, was_open = self.stream, self._is_open
        self.stream, self._is_open, self._torn = opened, True, None
        if was_open:
            before.close()


def _is_named(stream: TextIO, path: str) -> bool:
    try:
        named = Path(path).stat()
    except FileNotFoundError:
        return False
    own = os.fstat(stream.fileno())
    return (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)


def _open(path: str) -> TextIO:
    """Open the file; where everybody could read it, only its owner can from then on.

    A mode such as 0640 stays: the operator lets a group read the file.

    Raises:
        OSError: It cannot be opened, or everybody can read it and it belongs to another user.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        status = os.fstat(descriptor)
        if _is_open_to_all(status):
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~_GROUP_TOO)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")


def _is_open_to_all(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & _EVERYBODY)


def _require_writable(path: Path) -> None:
    """Check that a file can be written or made, and that not everybody can read it, or that we can change that.

    Raises:
        ConfigError: It cannot.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        is_writable = os.access(path.absolute().parent, os.W_OK | os.X_OK)
    except OSError:
        # A folder above it may not be searched, or is no folder.
        is_writable = False
    else:
        is_writable = not stat.S_ISDIR(status.st_mode) and os.access(path, os.W_OK)
        if _is_open_to_all(status) and os.geteuid() not in (0, status.st_uid):
            raise ConfigError(
                f"audit.file: {path}: everybody can read it, and it is not the service's own; run"
                " chmod o= on it, or name another file"
            )
    if not is_writable:
        raise ConfigError(
            f"audit.file: {path}: cannot be written; name a file in a folder that the service's user may write to"
        )


def set_up_audit(*, file: str, event_format: EventFormat, chain_key: str, may_refuse: bool) -> None:
    """Set how the audit log of this process is written.

    Args:
        file: `audit.file`.
        event_format: `audit.format`.
        chain_key: `audit.chain_key`.
        may_refuse: Whether requests are refused while the log cannot be written.

    Raises:
        ConfigError: The file cannot be opened, or the key is too short.
    """
    if chain_key and len(chain_key) < MIN_KEY_CHARACTERS:
        raise ConfigError(
            f"audit.chain_key: {len(chain_key)} characters; needs at least {MIN_KEY_CHARACTERS}: make one with: openssl"
            " rand -base64 48"
        )
    for handler in [each for each in log.logger.handlers if isinstance(each, AuditFile)]:
        log.logger.removeHandler(handler)
        handler.close()
    if file:
        log.logger.addHandler(AuditFile(file))
        # The file has every event, whatever level the log has.
        log.logger.setLevel(logging.INFO)
    OPTIONS.key, OPTIONS.event_format = chain_key.encode(), event_format
    refuse_without_log(may_refuse)

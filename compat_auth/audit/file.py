"""The file of `audit.file`, and how the audit log of this process is written."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TextIO

from compat_auth.audit import log
from compat_auth.audit.chain import OPTIONS, EventFormat
from compat_auth.audit.losses import LOSSES, AuditLosses, LogHandler, refuse_without_log
from compat_auth.errors import ConfigError

MIN_KEY_CHARACTERS = 32


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
        self.stream, self._is_open = opened, True
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
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")


def _require_writable(path: Path) -> None:
    """Check that a file can be written or made.

    Raises:
        ConfigError: It cannot.
    """
    wanted = os.W_OK if path.exists() else os.W_OK | os.X_OK
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, wanted):
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

"""The file of `audit.file`, and how the audit log of this process is written."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import TextIO

from compat_auth.audit import log
from compat_auth.audit.chain import OPTIONS, EventFormat
from compat_auth.audit.losses import LogHandler, refuse_without_log
from compat_auth.errors import ConfigError

MIN_KEY_CHARACTERS = 32


class AuditFile(LogHandler):
    """Appends to a file that only its owner may read; one that was moved away or deleted is opened again.

    Args:
        path: The file.

    Raises:
        ConfigError: It cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            opened = _open(path)
        except OSError as exc:
            raise ConfigError(
                f"audit.file: {path}: cannot be written ({exc.strerror}); name a file in a folder of the service's user"
            ) from exc
        super().__init__(opened)
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one event."""
        with contextlib.suppress(OSError):
            self._follow()
        super().emit(record)

    def close(self) -> None:
        """Close the file."""
        super().close()
        self.stream.close()

    def _follow(self) -> None:
        """Open the file again where another one, or none, has its name."""
        own = os.fstat(self.stream.fileno())
        try:
            named = Path(self._path).stat()
            is_own = (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)
        except FileNotFoundError:
            is_own = False
        if not is_own:
            opened, self.stream = self.stream, _open(self._path)
            opened.close()


def _open(path: str) -> TextIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")


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

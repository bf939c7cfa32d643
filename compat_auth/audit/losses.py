"""Count the lines of the audit log that could not be written, and report the number as soon as the log works again.

If the operator wants it, requests are refused meanwhile. A full disk (ENOSPC, EDQUOT), a broken disk (EIO) and a pipe
without a reader (EPIPE) are treated alike.
"""

from __future__ import annotations

import io
import json
import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from typing import TextIO

from compat_auth.audit import log
from compat_auth.audit.chain import Chain
from compat_auth.errors import BackendUnavailable

# How often requests that are refused for this reason test whether the log works again.
_RETRY_S = 1.0


class AuditLosses:
    """Counters for one stream of this process. Any thread may use it.

    Attributes:
        lost: Lost lines since the process started.
        is_failing: Whether the last attempt to write failed.
    """

    def __init__(self, now: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.lost = 0
        self.is_failing = False
        self._unreported = 0
        self._first = self._last = 0.0
        self._now, self._monotonic = now, monotonic
        self._lock = threading.Lock()
        self._write: Callable[[str], None] | None = None
        self._tried = float("-inf")

    def count(self, write: Callable[[str], None]) -> None:
        """Count a line that could not be written.

        Args:
            write: Writes a line of the audit log once that works; raises OSError or ValueError.
        """
        with self._lock:
            self.is_failing = True
            self._write, self._tried = write, self._monotonic()
            self._first = self._first if self._unreported else self._now()
            self._last = self._now()
            self._unreported += 1
            self.lost += 1

    def report(self, write: Callable[[str], None]) -> None:
        """Write how many lines were lost, if any and not yet reported.

        Raises:
            OSError, ValueError: The line cannot be written.
        """
        with self._lock:
            if self._unreported:
                write(self._message())
            self._unreported = 0
            self.is_failing = False

    def try_again(self) -> None:
        """Test whether the log works again, unless that was tested a moment ago."""
        with self._lock:
            now, write = self._monotonic(), self._write
            if not self.is_failing or write is None or now - self._tried < _RETRY_S:
                return
            self._tried = now
        try:
            self.report(write)
        except (OSError, ValueError):
            return

    def _message(self) -> str:
        first, last = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) for at in (self._first, self._last))
        lines = "1 audit line was" if self._unreported == 1 else f"{self._unreported} audit lines were"
        event = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._now())),
            "event": "lost",
            "lines": self._unreported,
            "reason": f"{lines} lost between {first} and {last}",
        }
        return json.dumps(event)


class ProcessLosses:
    """The counters of all streams to which this process writes its audit log. Any thread may use it.

    Each stream has its own: a line that standard error accepts must not hide that the file does not.

    Args:
        standard_error: Counters for standard error.

    Attributes:
        may_refuse: Whether requests are refused while one of the streams cannot be written.
        standard_error: See above.
    """

    def __init__(self, standard_error: AuditLosses) -> None:
        self.may_refuse = False
        self.standard_error = standard_error
        self._all: tuple[AuditLosses, ...] = (standard_error,)
        self._lost_before = 0
        self._lock = threading.Lock()

    @property
    def lost(self) -> int:
        """Lost lines since the process started, those of closed streams too."""
        return self._lost_before + sum(each.lost for each in self._all)

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt to write to one of the streams failed."""
        return any(each.is_failing for each in self._all)

    def add(self, losses: AuditLosses) -> None:
        """Count the losses of one more stream from now on."""
        with self._lock:
            self._all = (*self._all, losses)

    def remove(self, losses: AuditLosses) -> None:
        """Forget a stream that is closed, but not what it has lost."""
        with self._lock:
            if losses in self._all:
                self._all = tuple(each for each in self._all if each is not losses)
                self._lost_before += losses.lost

    def try_again(self) -> None:
        """Test whether the streams that fail work again, unless that was tested a moment ago."""
        for each in self._all:
            each.try_again()

    def require_log(self) -> None:
        """Raise unless requests may be answered.

        Raises:
            BackendUnavailable: The log cannot be written, and the operator wants requests refused then.
        """
        if self.may_refuse and self.is_failing:
            self.try_again()
            if self.is_failing:
                raise BackendUnavailable("the audit log cannot be written; free its disk, or see [audit] when_full")


LOSSES = ProcessLosses(AuditLosses())
"""The counters of this process."""


class LogHandler(logging.StreamHandler[TextIO]):
    """Writes each line at once and whole; a line of the audit log that fails is counted as lost.

    Args:
        stream: Where to write; standard error.
        losses: Counters of the stream.
    """

    def __init__(self, stream: TextIO, losses: AuditLosses = LOSSES.standard_error) -> None:
        super().__init__(stream)
        self._losses = losses
        # None: nothing has been written to this stream yet.
        self._torn: bool | None = None
        self._chain = Chain()
        self._linking = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        is_audit = record.name == log.logger.name
        try:
            line = record.getMessage() if is_audit else self.format(record)
        except Exception:  # noqa: BLE001  # as logging itself does
            self.handleError(record)
            return
        try:
            # Before the line itself: the earlier place in the chain is that of the losses.
            self._losses.report(self._write_event)
            if is_audit:
                self._write_linked(record.levelno, line)
            else:
                self._write(line)
        except (OSError, ValueError):
            if is_audit:
                self._losses.count(self._write_event)

    def _write_event(self, event: str) -> None:
        self._write_linked(logging.WARNING, event)

    def _write_linked(self, level: int, event: str) -> None:
        """Write an event with its place in the chain; a text that is no event has none."""
        if not event.startswith("{"):
            self._write(self.format(logging.LogRecord(log.logger.name, level, "", 0, "%s", (event,), None)))
            return
        # A request that tests whether the log works again does not have the lock of the handler.
        with self._linking:
            record = logging.LogRecord(log.logger.name, level, "", 0, "%s", (self._chain.link(event),), None)
            self._write(self.format(record))
            self._chain.advance()

    def _write(self, line: str) -> None:
        """Write a line without a buffer: a buffered line could appear later, although it was counted as lost."""
        try:
            descriptor = self.stream.fileno()
        except io.UnsupportedOperation:
            self.stream.write(line + self.terminator)
            self.stream.flush()
            return
        if self._torn is None:
            self._torn = _ends_within_line(descriptor)
        left = f"{self.terminator if self._torn else ''}{line}{self.terminator}".encode(errors="backslashreplace")
        while left:
            written = os.write(descriptor, left)
            left = left[written:]
            self._torn = bool(left)


def _ends_within_line(descriptor: int) -> bool:
    """Return whether a file has text whose last line is not complete: a process was killed, or the disk was full."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return False
    try:
        # The descriptor itself may be for writing alone.
        reader = os.open(f"/dev/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        # An empty line does no harm.
        return True
    try:
        return os.pread(reader, 1, status.st_size - 1) != b"\n"
    finally:
        os.close(reader)


def refuse_without_log(may_refuse: bool) -> None:
    """Set whether requests are refused while the audit log cannot be written."""
    LOSSES.may_refuse = may_refuse
    if LOSSES.require_log not in log.checks:
        log.checks.append(LOSSES.require_log)

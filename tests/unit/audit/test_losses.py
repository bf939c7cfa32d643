"""Lines of the audit log that could not be written."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TextIO

import pytest

from compat_auth import audit
from compat_auth.audit.losses import AuditLosses, LogHandler, ProcessLosses
from compat_auth.errors import BackendUnavailable
from support.stand_ins import Clock

Say = Callable[[str], None]


@pytest.fixture
def losses() -> AuditLosses:
    return AuditLosses()


def handler_on(stream: TextIO, losses: AuditLosses) -> LogHandler:
    handler = LogHandler(stream, losses)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    return handler


def line(text: str, name: str = audit.logger.name) -> logging.LogRecord:
    return logging.LogRecord(name, logging.INFO, "", 0, "%s", (text,), None)


@pytest.fixture
def full() -> Generator[TextIO]:
    with open("/dev/full", "w", encoding="utf-8") as stream:  # noqa: PTH123  # a device
        yield stream


def test_every_line_that_a_full_disk_loses_is_counted(full: TextIO, losses: AuditLosses) -> None:
    handler = handler_on(full, losses)

    for number in range(3):
        handler.emit(line(f"verdict {number}"))
    handler.emit(line("of another logger", "compat_auth.server"))

    assert losses.lost == 3
    assert losses.is_failing


def test_a_pipe_that_nobody_reads_and_a_closed_stream_are_counted_too(losses: AuditLosses) -> None:
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w")
    handler = handler_on(stream, losses)

    handler.emit(line("into the pipe"))
    stream.close()
    handler.emit(line("into nothing"))

    assert losses.lost == 2


def test_nothing_that_was_counted_as_lost_comes_out_later(tmp_path: Path, full: TextIO, losses: AuditLosses) -> None:
    file = tmp_path / "log"
    handler = handler_on(full, losses)
    handler.emit(line("lost"))

    with file.open("w") as working:
        os.dup2(working.fileno(), full.fileno())
        handler.emit(line("written"))

    said, written = file.read_text().splitlines()
    assert '"event": "lost"' in said
    assert "1 audit line was lost between" in said
    assert written == "compat_auth.audit written"


def test_a_line_of_another_logger_brings_the_news_too(tmp_path: Path, full: TextIO, losses: AuditLosses) -> None:
    file = tmp_path / "log"
    handler = handler_on(full, losses)
    handler.emit(line("lost"))

    with file.open("w") as working:
        os.dup2(working.fileno(), full.fileno())
        handler.emit(line("started", "compat_auth.server"))
        handler.emit(line("started", "compat_auth.server"))

    assert file.read_text().count('"event": "lost"') == 1


def test_requests_are_refused_only_where_that_is_wanted(full: TextIO) -> None:
    clock = Clock()
    losses = ProcessLosses(AuditLosses(monotonic=clock))
    handler_on(full, losses.standard_error).emit(line("lost"))

    losses.require_log()
    losses.may_refuse = True

    with pytest.raises(BackendUnavailable, match="when_full"):
        losses.require_log()


def test_a_stream_that_works_does_not_hide_one_that_fails(full: TextIO) -> None:
    works, fails = AuditLosses(), AuditLosses()
    losses = ProcessLosses(works)
    losses.may_refuse = True
    losses.add(fails)

    handler_on(full, fails).emit(line("lost"))
    handler_on(io.StringIO(), works).emit(line("written"))
    handler_on(io.StringIO(), works).emit(line("started", "compat_auth.server"))

    assert (losses.is_failing, losses.lost) == (True, 1)
    with pytest.raises(BackendUnavailable, match="when_full"):
        losses.require_log()


def test_the_losses_of_a_closed_stream_still_count(full: TextIO, losses: AuditLosses) -> None:
    together = ProcessLosses(AuditLosses())
    together.add(losses)
    handler_on(full, losses).emit(line("lost"))

    together.remove(losses)
    together.remove(losses)

    assert (together.is_failing, together.lost) == (False, 1)


def test_whether_the_log_works_again_is_found_out_once_a_second() -> None:
    clock, tried = Clock(), list[str]()
    counters = AuditLosses(monotonic=clock)
    losses = ProcessLosses(counters)
    losses.may_refuse = True

    def write(event: str) -> None:
        tried.append(event)
        if clock.time < 1002:
            raise OSError

    counters.count(write)
    for _ in range(30):
        clock.time += 0.1
        if clock.time < 1001.9:
            with pytest.raises(BackendUnavailable):
                losses.require_log()
    clock.time += 1
    losses.require_log()

    assert len(tried) == 2
    assert not losses.is_failing


def test_a_stream_without_a_descriptor_is_written_as_it_is(losses: AuditLosses) -> None:

    stream = io.StringIO()

    handler_on(stream, losses).emit(line("written"))

    assert stream.getvalue() == "compat_auth.audit written\n"

"""The chain of hashes in the audit log, and who breaks it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from typing import TextIO, cast

import pytest

from compat_auth import audit
from compat_auth.audit.chain import Chain, ChainOptions
from compat_auth.audit.lines import JsonLines, TextLines
from compat_auth.audit.losses import AuditLosses, LogHandler
from compat_auth.audit.verification import ChainVerifier

KEY = b"a-key-of-the-audit-log-and-nobody-else"
EVENTS = [json.dumps({"time": "t", "event": "verdict", "username": name}) for name in ("alice", "bob", "zoë", "d")]


def written(key: bytes = KEY, formatter: logging.Formatter | None = None, **options: str) -> list[str]:
    """Return the lines of a log with four events."""
    stream = io.StringIO()
    handler = LogHandler(stream, AuditLosses())
    handler.setFormatter(formatter or logging.Formatter("%(message)s"))
    handler._chain = Chain(ChainOptions(key, **options))  # type: ignore[arg-type]  # one of the two formats
    for event in EVENTS:
        handler.emit(logging.LogRecord(audit.logger.name, logging.INFO, "", 0, "%s", (event,), None))
    return stream.getvalue().splitlines()


def fault_in(lines: list[str], key: bytes = KEY) -> tuple[int, str] | None:
    return ChainVerifier(key).find_fault(lines)


@pytest.mark.parametrize("formatter", [TextLines(), JsonLines(), None], ids=["text", "json", "file"])
@pytest.mark.parametrize("event_format", ["json", "cloudevents"])
@pytest.mark.parametrize("key", [KEY, b""], ids=["key", "no-key"])
def test_a_log_that_nobody_touched_holds(formatter: logging.Formatter | None, event_format: str, key: bytes) -> None:
    lines = written(key, formatter, event_format=event_format)
    verifier = ChainVerifier(key)

    fault = verifier.find_fault(lines)

    assert fault is None
    assert (verifier.events, verifier.chains, verifier.late) == (4, 1, {})


def changed(lines: list[str]) -> list[str]:
    return [line.replace("bob", "eve") for line in lines]


def removed(lines: list[str]) -> list[str]:
    return [lines[0], *lines[2:]]


def swapped(lines: list[str]) -> list[str]:
    return [lines[0], lines[2], lines[1], lines[3]]


def repeated(lines: list[str]) -> list[str]:
    return [lines[0], lines[1], lines[1], *lines[2:]]


def without_hash(lines: list[str]) -> list[str]:
    return [lines[0], EVENTS[0], *lines[1:]]


def with_second_key(lines: list[str]) -> list[str]:
    return [lines[0], lines[1].replace('{"time"', '{"username": "eve", "time"')]


def torn(lines: list[str]) -> list[str]:
    return [lines[0], lines[1][:40], *lines[2:]]


def renumbered(lines: list[str]) -> list[str]:
    return [lines[0], lines[1].replace('"seq": 2', '"seq": 3'), *lines[2:]]


@pytest.mark.parametrize(
    "tamper", [changed, removed, swapped, repeated, without_hash, with_second_key, torn, renumbered]
)
def test_the_first_line_that_was_tampered_with_is_named(tamper: Callable[[list[str]], list[str]]) -> None:
    fault = fault_in(tamper(written()))

    assert fault is not None
    assert fault[0] in (2, 3)


@pytest.mark.parametrize(
    "line",
    [
        '{"event":"verdict","result":"accept","username":"eve","logger":"x"}',
        '{"event": "lost", "logger": "compat_auth.access"}',
        'Nov 22 08:40:11 host compat-auth[7]: {"level": "INFO", "logger": "x", "event": "verdict"}',
        '{"specversion": "1.0", "type": "compat_auth.verdict", "logger": "x"}',
    ],
)
def test_an_inserted_event_needs_a_hash_whatever_logger_it_names(line: str) -> None:
    lines = written()

    assert fault_in([lines[0], line, *lines[1:]]) == (
        2,
        "an audit event without a hash: it was inserted, or written by an older version",
    )


@pytest.mark.parametrize("formatter", [TextLines(), JsonLines(), None], ids=["text", "json", "file"])
def test_a_prefix_of_a_collector_hides_no_event(formatter: logging.Formatter | None) -> None:
    lines = [f"Nov 22 08:40:11 host compat-auth[7]: {line}" for line in written(KEY, formatter)]
    verifier = ChainVerifier(KEY)

    faults = verifier.find_fault(lines), fault_in(changed(lines))

    assert faults[0] is None
    assert verifier.events == 4
    assert faults[1] is not None


@pytest.mark.parametrize("formatter", [TextLines(), JsonLines(), None], ids=["text", "json", "file"])
def test_a_torn_line_is_named_and_what_follows_is_checked(formatter: logging.Formatter | None) -> None:
    lines = written(KEY, formatter)
    again = written(KEY, formatter)
    cut = -20
    verifier = ChainVerifier(KEY)

    fault = verifier.find_fault([*lines[:2], lines[2][:cut], *lines[2:], *again])
    broken = fault_in([lines[0], lines[1][:cut], *lines[2:]])

    assert fault is None
    assert (verifier.torn, verifier.events) == ([(1, 3)], 8)
    assert broken is not None
    assert broken[0] == 3


@pytest.mark.parametrize("formatter", [TextLines(), JsonLines(), None], ids=["text", "json", "file"])
def test_an_event_that_was_glued_to_half_a_line_is_checked(formatter: logging.Formatter | None) -> None:
    lines, again = written(KEY, formatter), written(KEY, formatter)
    glued = lines[3][:-20] + again[0]
    verifier = ChainVerifier(KEY)

    fault = verifier.find_fault([*lines[:3], glued, *again[1:]])
    broken = fault_in([*lines[:3], glued.replace("alice", "eve"), *again[1:]])

    assert fault is None
    assert (verifier.torn, verifier.events, verifier.late) == ([(1, 4)], 7, {})
    assert broken == (4, "its hash is wrong: the event was changed, or audit.chain_key is another one")


def test_another_key_does_not_hold() -> None:
    assert fault_in(written(b"another-key-that-nobody-has-here-00000")) is not None
    assert fault_in(written(b"")) is not None


def test_a_forger_without_the_key_cannot_make_a_chain_that_holds() -> None:
    forged = written(b"")

    assert fault_in(forged, KEY) == (1, "its hash is wrong: the event was changed, or audit.chain_key is another one")


def test_chains_of_several_processes_may_be_mixed_in_one_file() -> None:
    mixed = [line for pair in zip(written(), written(), strict=True) for line in pair]
    verifier = ChainVerifier(KEY)

    assert verifier.find_fault(mixed) is None
    assert (verifier.events, verifier.chains) == (8, 2)


def test_a_chain_continues_in_the_next_file() -> None:
    lines, verifier = written(), ChainVerifier(KEY)

    faults = verifier.find_fault(lines[:2]), verifier.find_fault(lines[2:])

    assert (faults, verifier.late) == ((None, None), {})


def test_a_chain_whose_beginning_is_elsewhere_is_named() -> None:
    verifier = ChainVerifier(KEY)

    fault = verifier.find_fault(written()[2:])

    assert fault is None
    assert list(verifier.late.values()) == [3]


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-22 08:40:11,000 INFO compat_auth.server stopping",
        '{"level": "INFO", "logger": "compat_auth.access", "event": "request"}',
        "",
        "Traceback (most recent call last):",
        "2026-11-22 08:40:11,000 WARNING compat_auth.proxy no template {name}",
        '2026-11-22 08:40:11,000 INFO compat_auth.access {"event": "request", "path": "/a"}',
        '{"level": "INFO", "logger": "compat_auth.server", "message": "compat_auth.audit is on"}',
    ],
)
def test_other_lines_of_the_log_are_passed_over(line: str) -> None:
    lines = written()

    assert fault_in([lines[0], line, *lines[1:]]) is None


class Failing(io.StringIO):
    """A stream on which every second line fails."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def write(self, text: str, /) -> int:
        self.calls += 1
        if self.calls == 2:
            raise OSError
        return super().write(text)


def test_lines_that_were_lost_leave_no_gap_in_the_chain() -> None:
    stream = Failing()
    handler = LogHandler(cast("TextIO", stream), AuditLosses())
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler._chain = Chain(ChainOptions(KEY))

    for event in EVENTS:
        handler.emit(logging.LogRecord(audit.logger.name, logging.INFO, "", 0, "%s", (event,), None))

    lines = stream.getvalue().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["verdict", "lost", "verdict", "verdict"]
    assert fault_in(lines) is None


def test_a_cloud_event_has_what_its_specification_requires() -> None:
    lines = written(event_format="cloudevents")

    event = json.loads(lines[1])

    assert {name: event[name] for name in ("specversion", "source", "type", "datacontenttype")} == {
        "specversion": "1.0",
        "source": "/compat-auth",
        "type": "compat_auth.verdict",
        "datacontenttype": "application/json",
    }
    assert event["data"] == json.loads(EVENTS[1])
    assert event["id"] == f"{event['chain']}-2"
    # Names of attributes are lower-case letters and digits (CloudEvents 1.0, section 3.1).
    assert all(name.isalnum() and name.islower() for name in event)

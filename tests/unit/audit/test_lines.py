"""The lines of the log: text and JSON, with the id of the request."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator

import pytest

from compat_auth.audit.lines import JsonLines, TextLines
from compat_auth.concurrency.current_request import REQUEST_ID


@pytest.fixture
def in_request() -> Generator[None]:
    token = REQUEST_ID.set("an-id")
    yield
    REQUEST_ID.reset(token)


def record(message: str, name: str = "compat_auth.server", **extra: object) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.WARNING, "", 0, "%s", (message,), None)
    made.__dict__.update(extra)
    return made


@pytest.mark.usefixtures("in_request")
def test_a_line_within_a_request_ends_with_its_id() -> None:
    assert TextLines().format(record("slow")).endswith(" WARNING compat_auth.server slow request_id=an-id")


def test_a_line_outside_a_request_has_no_id() -> None:
    assert TextLines().format(record("slow")).endswith(" WARNING compat_auth.server slow")
    assert "request_id" not in json.loads(JsonLines().format(record("slow")))


def test_a_record_may_bring_the_id_itself() -> None:
    assert TextLines().format(record("slow", request_id="mine")).endswith("slow request_id=mine")


@pytest.mark.usefixtures("in_request")
def test_a_line_in_json_is_one_object() -> None:
    line = JsonLines().format(record('two\nlines and "quotes"'))

    content = json.loads(line)
    assert "\n" not in line
    assert content.pop("time").endswith("Z")
    assert content == {
        "level": "WARNING",
        "logger": "compat_auth.server",
        "message": 'two\nlines and "quotes"',
        "request_id": "an-id",
    }


@pytest.mark.parametrize("name", ["compat_auth.audit", "compat_auth.access"])
@pytest.mark.usefixtures("in_request")
def test_an_event_is_the_object_itself(name: str) -> None:
    event = json.dumps({"event": "verdict", "request_id": "of-the-event"})

    line = JsonLines().format(record(event, name))

    assert json.loads(line) == {
        "level": "WARNING",
        "logger": name,
        "event": "verdict",
        "request_id": "of-the-event",
    }
    assert TextLines().format(record(event, name)).endswith(event)


def test_a_traceback_is_a_field_and_has_no_message() -> None:
    error = ValueError("canary")
    failed = record("failed", exc_info=(ValueError, error, None))

    content = json.loads(JsonLines().format(failed))
    text = TextLines().format(failed)

    assert content["exception"] == "ValueError (its message is not logged)"
    assert text.endswith("failed\nValueError (its message is not logged)")

"""How a line of the log looks: as text, or as one JSON object.

An exception is shown without its message, see `compat_auth.audit.accidents`.
"""

from __future__ import annotations

import json
import logging
import time
from types import TracebackType
from typing import Literal

from compat_auth.audit.accidents import traceback_without_messages
from compat_auth.concurrency.current_request import REQUEST_ID
from compat_auth.crypto.personal_token_format import without_secrets

LogFormat = Literal["text", "json"]
EVENTS = frozenset(("compat_auth.audit", "compat_auth.access"))
"""Loggers whose messages are JSON objects."""
TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def request_id_of_record(record: logging.LogRecord) -> str:
    """Return the id of the request that a record is about; "" for none."""
    found: object = getattr(record, "request_id", "") or REQUEST_ID.get()
    return str(found)


_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class _SafeLines(logging.Formatter):
    """Lines without the message of an exception."""

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802  # logging's name
        """Return the traceback without the messages of its exceptions."""
        return "" if ei[1] is None else traceback_without_messages(ei[1])


class TextLines(_SafeLines):
    """Lines for people; the id of the request comes last."""

    def __init__(self) -> None:
        super().__init__(TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Return the line without a traceback."""
        line = super().formatMessage(record)
        # An event has it as a field.
        request_id = "" if record.name in EVENTS else request_id_of_record(record)
        return f"{line} request_id={request_id}" if request_id else line


class JsonLines(_SafeLines):
    """One JSON object a line, for a log collector."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        about = {"level": record.levelname, "logger": record.name}
        message = record.getMessage()
        if record.name in EVENTS and message.startswith("{"):
            return f"{json.dumps(about)[:-1]}, {message[1:]}"
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, str] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            **about,
            "message": without_secrets(message),
        }
        if request_id := request_id_of_record(record):
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(line)


def lines_of(log_format: LogFormat) -> logging.Formatter:
    """Return the formatter of a log."""
    return JsonLines() if log_format == "json" else TextLines()

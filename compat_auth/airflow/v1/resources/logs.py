"""Logs of task instances: the operation, and the conversion of 3.x's log events to 2.x's text and JSON. No I/O.

A client gets the text as a stream, or JSON in the format of 2.x.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from compat_auth.airflow.v1.mappers.etags import pack, unpack
from compat_auth.airflow.v1.messages import (
    JSON,
    TEXT,
    Answer,
    Call,
    Json,
    Reply,
    Steps,
    accepted,
    json_reply,
    text_reply,
)
from compat_auth.airflow.v1.operation import V2, Operation, OperationRequest, fetch, require
from compat_auth.airflow.v1.problems import V1Problem
from compat_auth.airflow.v1.validation.query import boolean, integer, text
from compat_auth.crypto.strict_json import is_list, is_object

_ONE = f"{V2}/dags/{{dag_id}}/dagRuns/{{dag_run_id}}/taskInstances/{{task_id}}"
_LOG = f"{_ONE}/logs/{{task_try_number}}"
_NDJSON = "application/x-ndjson"
_TOKEN = "log"  # noqa: S105  # the kind of a token
# Clients of 2.x read until an answer has no new text, not until it has no token.
_END = ""
# 3.0.0 has no streamed answer.
_NOT_STREAMED = frozenset((406, 415, 422))


def _log(request: OperationRequest) -> Steps:
    map_index = request.query.value("map_index") or "-1"
    # 2.x reports the host of the task, and returns 404 for a missing task instance even if it has tries.
    instance = yield from fetch(request, request.path(f"{_ONE}/{{map_index}}", map_index=map_index))
    host = instance.get("hostname") or ""
    given = request.query.value("token")
    token = unpack(_TOKEN, given) if given else None
    if given and token is None:
        raise V1Problem(400, title="Bad Signature. Please use only the tokens provided by the API.")
    query = [("map_index", map_index), *([("token", token)] if token else [])]
    # No Accept header and `*/*` mean text; a header that fits neither type gets JSON.
    as_text = accepted(request.accept, (TEXT, JSON)) == TEXT
    if request.named("task_try_number").strip("0") == "":
        error_text = "Error fetching the logs. Try number 0 is invalid."
        return text_reply(f"default_host\n{error_text}\n") if as_text else _chunk("default_host", error_text, _END)
    if as_text:
        return (yield from _as_text(request, host, query))
    if token == _END and given:
        return _chunk(host, "", _END)
    full = request.query.is_true("full_content")
    answer = yield Call("GET", request.path(_LOG), (*query, ("full_content", "true" if full else "false")))
    if answer.status == 404:
        return _chunk(host, _no_such_try(request), _END)
    require(request, answer)
    found = answer.json()
    return _chunk(host, _content(answer), found.get("continuation_token") or _END)


def _as_text(request: OperationRequest, host: str, query: list[tuple[str, str]]) -> Steps:
    whole = (*query, ("full_content", "true"))
    answer = yield Call("GET", request.path(_LOG), whole, accept=_NDJSON, rewriter=LogRewriter(host))
    if answer.status in _NOT_STREAMED:
        answer = yield Call("GET", request.path(_LOG), whole)
    if answer.status == 404:
        return text_reply(f"{host}\n{_no_such_try(request)}\n")
    require(request, answer)
    return text_reply(f"{host}\n{_content(answer)}\n")


def _content(answer: Answer) -> str:
    content: object = answer.json().get("content")
    if is_list(content):
        return whole_text(content)
    return content if isinstance(content, str) else ""


def _chunk(host: str, content: str, token: str) -> Reply:
    return json_reply({"content": repr([(host, content)]), "continuation_token": pack(_TOKEN, token)})


def _no_such_try(request: OperationRequest) -> str:
    return f"*** Could not read the log: the task has no try {request.named('task_try_number')}"


OPERATIONS = (
    Operation(
        name="get_log",
        method="GET",
        path="/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/logs/{task_try_number}",
        to=f"GET {_LOG}",
        query=(boolean("full_content", ""), integer("map_index", ""), text("token", "")),
        code=_log,
        missing=("TaskInstance not found", None),
    ),
)


_SOURCES = "::group::Log message source details"
_END_GROUP = "::endgroup::"
# Longer than any reasonable line of a task; a longer line passes unchanged.
MAX_LINE_BYTES = 8 * 1024 * 1024
_TRACEBACK = "Traceback (most recent call last):"


class LogText:
    """Formats the events of one log in order: the format inside a group depends on earlier events."""

    def __init__(self) -> None:
        self._in_sources = False

    def lines(self, event: object) -> str:
        """Return an event as text, with a final line break."""
        if not is_object(event):
            return f"{event}\n"
        message = _text(event.get("event"))
        if event.get("timestamp") is None and not event.get("level"):
            return self._unstamped(message)
        level = _text(event.get("level") or "info").upper()
        name = _text(event.get("filename") or event.get("logger") or "task")
        text = f"[{_stamp(event.get('timestamp'))}] {{{name}:{event.get('lineno') or 0}}} {level} - {message}\n"
        details: object = event.get("error_detail")
        return (
            text + "".join(_traceback(detail) for detail in details if is_object(detail)) if is_list(details) else text
        )

    def _unstamped(self, message: str) -> str:
        if message == _SOURCES:
            self._in_sources = True
            return f" INFO - {message}\n"
        if message == _END_GROUP and self._in_sources:
            self._in_sources = False
            return f" INFO - {message}\n"
        return f"*** {message}\n" if self._in_sources else f"{message}\n"


class LogRewriter:
    """Converts newline-delimited JSON to the text of a log, piece by piece (see `messages.Rewriter`).

    Args:
        host: Host of the task: 2.x's first line.
    """

    def __init__(self, host: str) -> None:
        self._said = f"{host}\n"
        self._rest = b""
        self._has_lines = False
        self._text = LogText()

    def feed(self, part: bytes) -> bytes:
        """Return the text of the events that are complete after this piece."""
        *lines, self._rest = (self._rest + part).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        return self._say(lines)

    def end(self) -> bytes:
        """Return the rest; an empty log gets an empty line."""
        text = self._say([self._rest])
        return text if self._has_lines else text + b"\n"

    def _say(self, lines: Iterable[bytes]) -> bytes:
        said = "".join(self._text.lines(_event(line)) for line in lines if line.strip())
        self._has_lines = self._has_lines or bool(said)
        text, self._said = self._said + said, ""
        return text.encode("utf-8", "surrogateescape")


def whole_text(events: Iterable[object]) -> str:
    """Return the text of a complete log, without its final line break."""
    text = LogText()
    return "".join(text.lines(event) for event in events).removesuffix("\n")


def _event(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return line.decode("utf-8", "surrogateescape")


def _stamp(value: object) -> str:
    """Return a date in the format of 2.x's log formatter: milliseconds, and a zone without a colon."""
    text = _text(value)
    try:
        date = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        return text
    zone = date.strftime("%z") or "+0000"
    return f"{date.strftime('%Y-%m-%dT%H:%M:%S')}.{date.microsecond // 1000:03d}{zone}"


def _traceback(detail: Json) -> str:
    frames: object = detail.get("frames")
    lines = [_TRACEBACK]
    for frame in frames if is_list(frames) else ():
        if is_object(frame):
            place = f'  File "{frame.get("filename")}", line {frame.get("lineno")}, in {frame.get("name")}'
            lines.append(place)
    kind, value = _text(detail.get("exc_type")), _text(detail.get("exc_value"))
    lines.append(f"{kind}: {value}" if value else kind)
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    return "" if value is None else str(value)

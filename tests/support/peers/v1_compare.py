"""How two answers to one request differ, once what no two servers share is taken out.

What differs by nature (moments, numbers that a database counts, host names) is compared by its form; everything else to
the letter. A difference is named by where it stands, such as `dags[].file_token`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

MISSING: Final = "(missing)"
# The moment of a date that a request has set is the same on both sides, and so are those of the fixed run.
_MOMENT = re.compile(r"^(\d{4})-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?$")
_FIXED_YEARS: Final = ("2024", "2030")
# Keys whose value says which server, process or database row it was: compared by type.
_BY_TYPE: Final = frozenset(
    (
        "dag_run_id_made",
        "duration",
        "event_log_id",
        "id",
        "import_error_id",
        "job_id",
        "latest_heartbeat",
        "pid",
        "queued_by_job_id",
        "source_map_index",
        "trigger_id",
    )
)
# What names an object among others, the most telling first.
_NAMES: Final = ("dag_id", "dag_run_id", "task_id", "map_index", "name", "uri", "key", "package_name")
# Keys whose value differs in content by nature, and whose form follows from their own test.
_BY_PRESENCE: Final = frozenset(("file_token", "fileloc", "continuation_token", "hostname", "unixname", "stack_trace"))
_MADE_RUN_ID = re.compile(r"(manual|scheduled|dataset_triggered|asset_triggered)__20(25|26|27|28)-[0-9T:.+-]+")
# Where a server has found a log is its own business; what the log says is not.
_LOG_PLACES = re.compile(r"(?:\*\*\* (?:(?!\\n|\n).)*(\\n|\n))+")
_FILE = re.compile(r"^/.*/(dags/.*)$")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: HTTP status.
        content_type: Without parameters.
        body: As received.
    """

    status: int
    content_type: str
    body: bytes = field(repr=False)

    def content(self) -> Any:
        """Return the JSON of the body, else its text; None where there is none."""
        if not self.body:
            return None
        if self.content_type.endswith("json"):
            try:
                return json.loads(self.body)
            except ValueError:
                return self.body.decode(errors="replace")
        return self.body.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Difference:
    """One place at which the answers differ."""

    where: str
    wanted: object
    found: object

    def __str__(self) -> str:
        return f"{self.where}: {_short(self.wanted)} != {_short(self.found)}"


def differences(wanted: Answer, found: Answer, *, ordered: bool = True) -> list[Difference]:
    """Return where an answer differs from the wanted one, in a stable order, each place once.

    Args:
        wanted: 2.11's.
        found: Ours.
        ordered: The request says in which order things are listed; else any order is as good.
    """
    seen: dict[str, Difference] = {}
    for difference in _differences(wanted, found, ordered=ordered):
        seen.setdefault(difference.where, difference)
    return list(seen.values())


def _differences(wanted: Answer, found: Answer, *, ordered: bool) -> Iterator[Difference]:
    if wanted.status != found.status:
        yield Difference("status", wanted.status, found.status)
    # 2.11 says of what type the nothing of a 204 is.
    if wanted.content_type != found.content_type and (wanted.body or found.body):
        yield Difference("content-type", wanted.content_type, found.content_type)
    sides = (_normal("", answer.content()) for answer in (wanted, found))
    one, other = (side if ordered else _sorted(side) for side in sides)
    yield from _inner("", one, other)


def _inner(where: str, wanted: object, found: object) -> Iterator[Difference]:
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        ours, theirs = cast("Mapping[str, object]", wanted), cast("Mapping[str, object]", found)
        for key in sorted(ours.keys() | theirs.keys()):
            yield from _inner(f"{where}.{key}".lstrip("."), ours.get(key, MISSING), theirs.get(key, MISSING))
    elif isinstance(wanted, list) and isinstance(found, list):
        left, right = cast("list[object]", wanted), cast("list[object]", found)
        if len(left) != len(right):
            yield Difference(f"{where}[]", f"{len(left)} items", f"{len(right)} items")
            return
        for one, other in zip(left, right, strict=True):
            yield from _inner(f"{where}[]", one, other)
    elif type(wanted) is not type(found) or wanted != found:
        yield Difference(where or "body", wanted, found)


def _sorted(value: Any) -> Any:
    """Return a value with every list of objects in an order of our own: by what names them, else by all they say."""
    if isinstance(value, dict):
        return {name: _sorted(inner) for name, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return sorted((_sorted(inner) for inner in value), key=_rank)
    return value


def _rank(value: Any) -> str:
    if not isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    items = cast("dict[str, Any]", value)
    return json.dumps([items.get(name) for name in _NAMES] + [items], sort_keys=True)


def _normal(key: str, value: Any) -> Any:
    """Return a value with what differs by nature replaced by the name of its form."""
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return {_normal("", name): _normal(name, inner) for name, inner in items.items()}
    if isinstance(value, list):
        listed = [_normal(key, inner) for inner in value]
        return sorted(listed, key=_rank) if key == "tags" else listed  # no order of tags is better than another
    if value is None:
        return None
    if key in _BY_PRESENCE:
        return "<some>" if value != "" else ""
    if key in _BY_TYPE:
        return f"<{'number' if isinstance(value, (int, float)) else type(value).__name__}>"
    return _normal_text(value) if isinstance(value, str) else value


def _normal_text(text: str) -> str:
    moment = _MOMENT.match(text)
    if moment and moment[1] not in _FIXED_YEARS:
        return f"<moment {moment[3] or 'without zone'}>"
    # What a JSON schema says beyond that is the library's, not Airflow's.
    text = text.partition("\n\nFailed validating ")[0]
    if "Log message source details" in text:
        return _LOG_PLACES.sub(r"*** <places>\1", text)
    in_folder = _FILE.match(text)
    if in_folder:
        return f"<folder>/{in_folder[1]}"
    return _MADE_RUN_ID.sub(r"\1__<moment>", text)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 160 else f"{text[:160]}…"

"""Answers that the upstream might give, for whoever wants to know what would follow from them. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from compat_auth.airflow.v1.validation.messages import JSON, Answer, Call, Json
from compat_auth.airflow.v1.validation.query import MAX_PAGE

# What operations look up and use in later calls, as the name of a place (RFC 6570).
_OBJECT: Json = {
    "id": "{asset_id}",
    "asset_id": "{asset_id}",
    "dag_run_id": "{dag_run_id}",
    "file_token": "{file_token}",
    "bundle_name": "{bundle_name}",
    "filename": "file.py",
    "event": "event",
    "name": "name",
    "slots": 1,
    "value": "***",
    "stats": [],
    "options": [{"key": "key", "value": "value"}],
    "extra_links": {},
}
_LISTS = (
    "actions",
    "asset_events",
    "assets",
    "connections",
    "dag_runs",
    "dag_warnings",
    "event_logs",
    "import_errors",
    "plugins",
    "pools",
    "providers",
    "queued_events",
    "roles",
    "sections",
    "task_instances",
    "tasks",
    "users",
    "variables",
    "xcom_entries",
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One way in which a call may be answered.

    Attributes:
        words: What the call does then, for people.
        answer: To a call.
    """

    words: str
    answer: Callable[[Call], Answer]


def _says(document: Json) -> Answer:
    return Answer(200, json.dumps(document).encode())


def _listing(call: Call, *, times: int, others: int = 0) -> Answer:
    """Return an answer that holds everything at once: an operation takes out of it what it reads.

    Args:
        call: What is answered.
        times: How often each list holds what is looked for.
        others: How many more objects are on the page; then it is not the last.
    """
    asked = dict(call.query)
    found = {**_OBJECT, "uri": asked.get("uri_pattern", "{uri}")}
    dag_ids = [value for name, value in call.query if name == "dag_ids"] or ["{dag_id}"]
    dags = [{**found, "dag_id": dag_id} for dag_id in dag_ids]
    total = int(asked.get("offset", 0)) + times + others + (others > 0)
    page = [{**found, "dag_id": "{dag_id}"}] * times + [{**_OBJECT, "uri": "", "bundle_name": None}] * others
    lists = dict.fromkeys(_LISTS, page)
    return _says({**dags[0], **lists, "dags": dags * times, "total_entries": total})


def _refusing(status: int) -> Turn:
    return Turn(f"is refused with {status}", lambda _call: Answer(status, b'{"detail": "no"}'))


EXPECTED = Turn("does as told", lambda call: _listing(call, times=1))
_OTHERWISE = (
    Turn("finds nothing", lambda call: _listing(call, times=0)),
    Turn("is not the last page", lambda call: _listing(call, times=1, others=MAX_PAGE - 1)),
    _refusing(404),
)
_NOT_ACCEPTED = _refusing(406)
_CONFLICT = _refusing(409)


def otherwise(call: Call) -> tuple[Turn, ...]:
    """Return the other ways in which a call may be answered and an operation goes on."""
    if call.method != "GET":
        return (*_OTHERWISE, _CONFLICT)
    return _OTHERWISE if call.accept == JSON else (*_OTHERWISE, _NOT_ACCEPTED)

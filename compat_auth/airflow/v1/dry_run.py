"""Answers that the upstream might give, for whoever wants to know what would follow from them. No I/O."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import quote, urlencode

from compat_auth.airflow.v1.catalog import ROUTER
from compat_auth.airflow.v1.driver import Request, plan
from compat_auth.airflow.v1.messages import JSON, Answer, Call, Json, Reply
from compat_auth.airflow.v1.problems import V1Problem
from compat_auth.airflow.v1.upstream_facts import UpstreamFacts
from compat_auth.airflow.v1.validation.query import MAX_PAGE
from compat_auth.crypto.strict_json import is_object

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


_MAX_DETOURS = 2
# A place that a later answer fills: shown as it is named, not as a path would carry it.
_PLACE = re.compile("%7B([a-z_]+)%7D")
# Fields of bodies that may hold a secret.
_HIDDEN = frozenset(("password", "extra", "value"))
Detours = tuple[tuple[int, Turn], ...]
"""The calls, by their place in the row, that are answered in another way than expected."""
_Key = tuple[str, str, tuple[tuple[str, str], ...], str, int]


def preview(request: Request) -> Iterator[str]:
    """Yield lines: the operation, every call that it may make, which of them write, and on what they depend."""
    moment = datetime.now(timezone.utc)
    try:
        asked, _ = plan(ROUTER, request, UpstreamFacts(), moment)
    except V1Problem as problem:
        yield f"answer: {problem.status}: {problem.detail or problem.title}"
        return
    yield f"operation: {asked.operation.name}"
    calls, reply = _run(request, moment, ())
    if not calls:
        yield f"answer: {reply.status} without a call" if isinstance(reply, Reply) else f"answer: {_refusal(reply)}"
        return
    numbers: dict[_Key, int] = {}
    conditions: dict[int, list[Detours]] = {}
    shown: dict[int, Call] = {}
    waiting = deque[Detours]([()])
    while waiting:
        detours = waiting.popleft()
        calls, _ = _run(request, moment, detours)
        row = [numbers.setdefault(key, len(numbers) + 1) for key in _keys(calls)]
        for at, (number, call) in enumerate(zip(row, calls, strict=True)):
            shown.setdefault(number, call)
            before = tuple((row[place], turn) for place, turn in detours if place < at)
            known = conditions.setdefault(number, [])
            if not any(set(one) <= set(before) for one in known):
                known.append(before)
        waiting.extend(_further(detours, calls))
    for number, call in shown.items():
        writes = " (writes)" if call.writes else ""
        yield f"call {number}{writes}{_when(conditions[number])}: {_line(call)}"


def _run(request: Request, moment: datetime, detours: Detours) -> tuple[list[Call], Reply | V1Problem]:
    """Return the calls of an operation whose calls are all answered as expected, but for some; and how it ends."""
    turns = dict(detours)
    calls: list[Call] = []
    _, steps = plan(ROUTER, request, UpstreamFacts(), moment)
    try:
        call = next(steps)
        while True:
            turn = turns.get(len(calls), EXPECTED)
            calls.append(call)
            call = steps.send(turn.answer(call))
    except StopIteration as end:
        reply: Reply = end.value
        return calls, reply
    except V1Problem as problem:
        return calls, problem


def _keys(calls: list[Call]) -> Iterator[_Key]:
    """Yield what tells calls apart: one that is made twice is two."""
    seen: dict[tuple[str, str, tuple[tuple[str, str], ...], str], int] = {}
    for call in calls:
        key = (call.method, call.path, call.query, call.accept)
        seen[key] = seen.get(key, 0) + 1
        yield (*key, seen[key])


def _further(detours: Detours, calls: list[Call]) -> Iterator[Detours]:
    """Yield the detours that go one further: each kind once, so that there is an end."""
    if len(detours) < _MAX_DETOURS:
        taken = {turn for _, turn in detours}
        for place in range(detours[-1][0] + 1 if detours else 0, len(calls)):
            for turn in otherwise(calls[place]):
                if turn not in taken:
                    yield (*detours, (place, turn))


def _when(conditions: list[Detours]) -> str:
    if () in conditions:
        return ""
    told = dict.fromkeys(" and ".join(f"call {number} {turn.words}" for number, turn in one) for one in conditions)
    return f", when {', or '.join(told)}"


def _line(call: Call) -> str:
    query = f"?{urlencode(call.query, quote_via=quote)}" if call.query else ""
    body = f" {json.dumps(_without_secrets(call.body))}" if call.body is not None else ""
    accept = f" (Accept: {call.accept})" if call.accept != JSON else ""
    target = _PLACE.sub(r"{\1}", call.path + query)
    return f"{call.method} {target}{body}{accept}"


def _without_secrets(body: object) -> object:
    if not is_object(body):
        return body
    return {name: "(hidden)" if name in _HIDDEN and value else value for name, value in body.items()}


def _refusal(problem: V1Problem) -> str:
    return f"{problem.status}: {problem.detail or problem.title}"

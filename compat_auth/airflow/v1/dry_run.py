"""Previews the upstream calls of an operation without sending them, for `compat-auth explain`. No I/O.

It runs the operation against made-up answers: first the expected ones, then each other kind of answer, and collects the
calls and the answers on which they depend.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from compat_auth.airflow.v1.catalog import ROUTER
from compat_auth.airflow.v1.driver import Request, plan
from compat_auth.airflow.v1.messages import JSON, Answer, Call, Json, Reply
from compat_auth.airflow.v1.problems import V1Problem
from compat_auth.airflow.v1.upstream_facts import UpstreamFacts
from compat_auth.airflow.v1.validation.query import MAX_PAGE
from compat_auth.crypto.strict_json import is_object

# The values that operations look up and use in later calls, as template variables (RFC 6570).
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
class PossibleAnswer:
    """One possible answer to a call.

    Attributes:
        effect: What happens to the call then, for people.
        answer: Makes the answer to a call.
    """

    effect: str
    answer: Callable[[Call], Answer]


def _json_answer(document: Json) -> Answer:
    return Answer(200, json.dumps(document).encode())


def _listing(call: Call, *, times: int, others: int = 0) -> Answer:
    """Return an answer with the fields of all objects at once: an operation reads only the fields that it needs.

    Args:
        call: The call to answer.
        times: How often each list holds the wanted object.
        others: How many other objects are on the page; above 0, the page is not the last.
    """
    query = dict(call.query)
    found = {**_OBJECT, "uri": query.get("uri_pattern", "{uri}")}
    dag_ids = [value for name, value in call.query if name == "dag_ids"] or ["{dag_id}"]
    dags = [{**found, "dag_id": dag_id} for dag_id in dag_ids]
    total = int(query.get("offset", 0)) + times + others + (others > 0)
    page = [{**found, "dag_id": "{dag_id}"}] * times + [{**_OBJECT, "uri": "", "bundle_name": None}] * others
    lists = dict.fromkeys(_LISTS, page)
    return _json_answer({**dags[0], **lists, "dags": dags * times, "total_entries": total})


def _rejected(status: int) -> PossibleAnswer:
    return PossibleAnswer(f"is refused with {status}", lambda _call: Answer(status, b'{"detail": "no"}'))


EXPECTED = PossibleAnswer("succeeds", lambda call: _listing(call, times=1))
_OTHERS = (
    PossibleAnswer("finds nothing", lambda call: _listing(call, times=0)),
    PossibleAnswer("is not the last page", lambda call: _listing(call, times=1, others=MAX_PAGE - 1)),
    _rejected(404),
)
_NOT_ACCEPTED = _rejected(406)
_CONFLICT = _rejected(409)


def other_answers(call: Call) -> tuple[PossibleAnswer, ...]:
    """Return the unexpected answers to a call after which an operation may continue."""
    if call.method != "GET":
        return (*_OTHERS, _CONFLICT)
    return _OTHERS if call.accept == JSON else (*_OTHERS, _NOT_ACCEPTED)


_MAX_DEVIATIONS = 2
# A template variable that a later answer fills, percent-encoded in a path; the preview shows it decoded.
_PLACE = re.compile("%7B([a-z_]+)%7D")
# Fields of bodies that may hold a secret.
_HIDDEN = frozenset(("password", "extra", "value"))
Deviations = tuple[tuple[int, PossibleAnswer], ...]
"""Unexpected answers, each with the index of its call."""
_Key = tuple[str, str, tuple[tuple[str, str], ...], str, int]


def preview(request: Request) -> Iterator[str]:
    """Yield lines: the operation, every call that it may make, which calls write, and the answers they depend on."""
    now = datetime.now(UTC)
    try:
        operation_request, _ = plan(ROUTER, request, UpstreamFacts(), now)
    except V1Problem as problem:
        yield f"answer: {problem.status}: {problem.detail or problem.title}"
        return
    yield f"operation: {operation_request.operation.name}"
    calls, reply = _run(request, now, ())
    if not calls:
        yield (
            f"answer: {reply.status} without a call" if isinstance(reply, Reply) else f"answer: {_problem_text(reply)}"
        )
        return
    numbers: dict[_Key, int] = {}
    conditions: dict[int, list[Deviations]] = {}
    shown: dict[int, Call] = {}
    waiting = deque[Deviations]([()])
    while waiting:
        deviations = waiting.popleft()
        calls, _ = _run(request, now, deviations)
        row = [numbers.setdefault(key, len(numbers) + 1) for key in _keys(calls)]
        for at, (number, call) in enumerate(zip(row, calls, strict=True)):
            shown.setdefault(number, call)
            before = tuple((row[place], possible) for place, possible in deviations if place < at)
            known = conditions.setdefault(number, [])
            if not any(set(one) <= set(before) for one in known):
                known.append(before)
        waiting.extend(_further(deviations, calls))
    for number, call in shown.items():
        writes = " (writes)" if call.writes else ""
        yield f"call {number}{writes}{_condition_text(conditions[number])}: {_call_text(call)}"


def _run(request: Request, now: datetime, deviations: Deviations) -> tuple[list[Call], Reply | V1Problem]:
    """Return an operation's calls and its end, when all answers are the expected ones except for these."""
    chosen = dict(deviations)
    calls: list[Call] = []
    _, steps = plan(ROUTER, request, UpstreamFacts(), now)
    try:
        call = next(steps)
        while True:
            possible = chosen.get(len(calls), EXPECTED)
            calls.append(call)
            call = steps.send(possible.answer(call))
    except StopIteration as end:
        reply: Reply = end.value
        return calls, reply
    except V1Problem as problem:
        return calls, problem


def _keys(calls: list[Call]) -> Iterator[_Key]:
    """Yield a key for each call; a repeated call gets another key."""
    seen: dict[tuple[str, str, tuple[tuple[str, str], ...], str], int] = {}
    for call in calls:
        key = (call.method, call.path, call.query, call.accept)
        seen[key] = seen.get(key, 0) + 1
        yield (*key, seen[key])


def _further(deviations: Deviations, calls: list[Call]) -> Iterator[Deviations]:
    """Yield these deviations with one more: each kind of answer once, so that the search ends."""
    if len(deviations) < _MAX_DEVIATIONS:
        taken = {possible for _, possible in deviations}
        for place in range(deviations[-1][0] + 1 if deviations else 0, len(calls)):
            for possible in other_answers(calls[place]):
                if possible not in taken:
                    yield (*deviations, (place, possible))


def _condition_text(conditions: list[Deviations]) -> str:
    if () in conditions:
        return ""
    texts = dict.fromkeys(
        " and ".join(f"call {number} {possible.effect}" for number, possible in one) for one in conditions
    )
    return f", when {', or '.join(texts)}"


def _call_text(call: Call) -> str:
    query = f"?{urlencode(call.query, quote_via=quote)}" if call.query else ""
    body = f" {json.dumps(_without_secrets(call.body))}" if call.body is not None else ""
    accept = f" (Accept: {call.accept})" if call.accept != JSON else ""
    target = _PLACE.sub(r"{\1}", call.path + query)
    return f"{call.method} {target}{body}{accept}"


def _without_secrets(body: object) -> object:
    if not is_object(body):
        return body
    return {name: "(hidden)" if name in _HIDDEN and value else value for name, value in body.items()}


def _problem_text(problem: V1Problem) -> str:
    return f"{problem.status}: {problem.detail or problem.title}"

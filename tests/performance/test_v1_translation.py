"""What the translation of a long list costs: CPU of this thread alone, the least of many, so that neighbours do not count."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from compat_auth.airflow.v1.translation import V1Translation
from compat_auth.gateway.forwarding import AUTHORIZE
from compat_auth.http.asgi import Message, Receive, Scope, Send

ROUNDS = 300
RUN: dict[str, Any] = {
    "dag_run_id": "manual__2026-11-24T17:07:40.635994+00:00",
    "dag_id": "example_dag",
    "logical_date": "2024-02-01T00:00:00Z",
    "queued_at": None,
    "start_date": "2024-02-01T00:00:00Z",
    "end_date": "2026-11-24T17:07:49.470908Z",
    "duration": 9.470908,
    "data_interval_start": "2024-02-01T00:00:00Z",
    "data_interval_end": "2024-02-01T00:00:00Z",
    "run_after": "2026-11-24T17:07:40.635994Z",
    "last_scheduling_decision": "2026-11-24T17:07:49.469194Z",
    "run_type": "manual",
    "state": "success",
    "triggered_by": "rest_api",
    "triggering_user_name": "admin",
    "conf": {"word": "x"},
    "note": None,
    "dag_versions": [{"id": "01a20e86-5527-74b4-b3e0-e82ef8503cce", "version_number": 1, "dag_id": "example_dag"}],
    "bundle_version": None,
    "dag_display_name": "example_dag",
    "partition_key": None,
    "partition_date": None,
}
ANSWER = json.dumps({"dag_runs": [RUN] * 100, "total_entries": 100}).encode()


async def behind(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": ANSWER})


def parsing_ms() -> float:
    """Return the CPU time that no translation can save: reading and writing the list with `json`."""
    least = float("inf")
    for _ in range(ROUNDS):
        began = time.thread_time()
        json.dumps(json.loads(ANSWER))
        least = min(least, time.thread_time() - began)
    return least * 1000


def least_ms(path: bytes) -> tuple[float, bytes]:
    """Return the CPU time of one answer, and its body."""
    application = V1Translation(behind)
    permit: Callable[[str, bytes, bytes], None] = lambda _method, _path, _body: None  # noqa: E731
    headers = [(b"host", b"h"), (b"authorization", b"Bearer x"), (b"accept", b"application/json")]
    extensions = {AUTHORIZE: permit}
    scope: Scope = {
        "type": "http",
        "method": "GET",
        "raw_path": path,
        "query_string": b"limit=100",
        "headers": headers,
        "extensions": extensions,
    }
    taken: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        taken.append(message)

    async def measure() -> tuple[float, bytes]:
        least = float("inf")
        for _ in range(ROUNDS):
            taken.clear()
            began = time.thread_time()
            await application(scope, receive, send)
            least = min(least, time.thread_time() - began)
            assert taken[0]["status"] == 200
        return least * 1000, b"".join(message.get("body", b"") for message in taken)

    return asyncio.run(measure())


@pytest.mark.performance
def test_the_cost_of_translating_a_list_of_a_hundred_runs_is_measured_on_the_whole_list(
    record_property: Callable[[str, object], None],
) -> None:
    untouched, passed_on = least_ms(b"/api/v2/dags/~/dagRuns")
    translated, answered = least_ms(b"/api/v1/dags/~/dagRuns")
    parsed = parsing_ms()

    record_property("added_ms", translated - untouched)
    record_property("over_parsing", (translated - untouched) / parsed)
    print(  # noqa: T201  # what the run is for
        f"added {translated - untouched:.2f} ms: {(translated - untouched) / parsed:.1f} times json's own part"
    )
    assert passed_on == ANSWER
    assert [run["execution_date"] for run in json.loads(answered)["dag_runs"]] == ["2024-02-01T00:00:00+00:00"] * 100

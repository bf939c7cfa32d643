"""What the translation of a long list costs: CPU of this thread alone, the least of many, so that neighbours do not count."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from compat_auth.airflow.v1.translation import V1Translation
from compat_auth.asgi import Message, Receive, Scope, Send
from compat_auth.gate import DEMAND

ROUNDS = 300
AT_MOST_MS = 1.0
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


def least_ms(path: bytes) -> float:
    """Return the CPU time of one answer."""
    application = V1Translation(behind)
    permit: Callable[[str, bytes], None] = lambda _method, _path: None  # noqa: E731
    headers = [(b"host", b"h"), (b"authorization", b"Bearer x"), (b"accept", b"application/json")]
    extensions = {DEMAND: permit}
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

    async def measure() -> float:
        least = float("inf")
        for _ in range(ROUNDS):
            taken.clear()
            began = time.thread_time()
            await application(scope, receive, send)
            least = min(least, time.thread_time() - began)
            assert taken[0]["status"] == 200
        return least * 1000

    return asyncio.run(measure())


@pytest.mark.performance
def test_a_list_of_a_hundred_runs_costs_at_most_a_millisecond_more_than_untouched(
    record_property: Callable[[str, object], None],
) -> None:
    untouched, translated = least_ms(b"/api/v2/dags/~/dagRuns"), least_ms(b"/api/v1/dags/~/dagRuns")

    record_property("added_ms", translated - untouched)
    assert translated - untouched <= AT_MOST_MS

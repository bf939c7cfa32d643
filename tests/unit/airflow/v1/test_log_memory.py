"""A log of a hundred megabytes goes through the translation without being held."""

import asyncio
import json
import tracemalloc

import pytest

from compat_auth.airflow.v1.resources.logs import MAX_LINE_BYTES
from compat_auth.airflow.v1.translation import V1Translation
from compat_auth.gateway.forwarding import AUTHORIZE
from compat_auth.http.asgi import Message, Receive, Scope, Send

MEBIBYTE = 1024 * 1024
LOG_BYTES = 100 * MEBIBYTE
PART_BYTES = 64 * 1024
EVENT = json.dumps({"timestamp": "2024-01-02T00:00:01Z", "level": "info", "event": "x" * 16_000}).encode() + b"\n"


def through(part: bytes) -> tuple[int, int]:
    """Stream a log made of one part again and again; return the bytes that the client got, and the peak of memory."""
    got = 0

    async def behind(scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if b"/logs/" not in scope["raw_path"]:
            await send({"type": "http.response.body", "body": b'{"hostname": "vm"}'})
            return
        for _ in range(LOG_BYTES // len(part)):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        nonlocal got
        got += len(message.get("body", b""))

    scope: Scope = {
        "type": "http",
        "method": "GET",
        "raw_path": b"/api/v1/dags/d/dagRuns/r/taskInstances/t/logs/1",
        "query_string": b"",
        "headers": [(b"host", b"h"), (b"accept", b"text/plain")],
        "extensions": {AUTHORIZE: lambda _method, _path, _body: None},
    }
    tracemalloc.start()
    try:
        asyncio.run(V1Translation(behind)(scope, receive, send))
        return got, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("part", "most"),
    [
        pytest.param(EVENT * (PART_BYTES // len(EVENT)), 2 * MEBIBYTE, id="many-lines"),
        # A line without an end is held up to the longest that there may be, and once more to go on with.
        pytest.param(b"x" * PART_BYTES, 4 * MAX_LINE_BYTES, id="one-line"),
    ],
)
def test_a_hundred_megabytes_of_log_cost_no_memory(part: bytes, most: int) -> None:
    got, peak = through(part)

    assert got > 0.95 * LOG_BYTES
    assert peak < most, f"{peak / MEBIBYTE:.1f} MiB"

"""What a request to `/api/v1` would be made of, told without asking the upstream. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote, urlencode

from compat_auth.airflow.v1.catalog import ROUTER
from compat_auth.airflow.v1.driver import Request, plan
from compat_auth.airflow.v1.facts import Facts
from compat_auth.airflow.v1.messages import Call
from compat_auth.airflow.v1.problems import V1Problem


def preview(request: Request) -> Iterator[str]:
    """Yield lines: the operation, its first call, and whether more follow."""
    try:
        asked, steps = plan(ROUTER, request, Facts())
        yield f"operation: {asked.operation.name}"
        yield f"call: {_line(next(steps))}"
    except V1Problem as problem:
        yield f"answer: {problem.status}: {problem.detail or problem.title}"
    except StopIteration as end:
        yield f"answer: {end.value.status} without a call"
    else:
        steps.close()
        if asked.operation.code is not None or asked.operation.fab:
            yield f"calls after it: depend on its answer; the operation is made of {asked.operation.to}"


def _line(call: Call) -> str:
    query = f"?{urlencode(call.query, quote_via=quote)}" if call.query else ""
    body = f" {json.dumps(call.body)}" if call.body is not None else ""
    return f"{call.method} {call.path}{query}{body}"

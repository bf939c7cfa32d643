"""Runs a translated operation over any function that sends one request and returns the answer. No I/O of its own."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from compat_auth.airflow.v1.messages import Answer, Call, Reply, Steps
from compat_auth.airflow.v1.operation import OperationRequest
from compat_auth.airflow.v1.problems import V1Problem
from compat_auth.airflow.v1.router import Router
from compat_auth.airflow.v1.upstream_facts import UpstreamFacts
from compat_auth.airflow.v1.validation.query import Query
from compat_auth.airflow.v1.write_progress import with_write_progress

logger = logging.getLogger(__name__)

Sender = Callable[[Call], Awaitable["Answer | None"]]
"""Send one call. None: the answer has already gone to the client through the call's rewriter."""
_FAB_ONLY = "This endpoint is only available when using the default auth manager FabAuthManager."


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request to `/api/v1`.

    Attributes:
        method: Upper case.
        path: Canonical, below `/api/v1`.
        query: Canonical.
        body: The complete body.
        content_type: Value of `Content-Type`.
        accept: Value of `Accept`.
    """

    method: str
    path: str
    query: str = ""
    body: bytes = field(default=b"", repr=False)
    content_type: str = ""
    accept: str = ""


def plan(
    router: Router, request: Request, upstream_facts: UpstreamFacts, now: datetime | None = None
) -> tuple[OperationRequest, Steps]:
    """Return the parsed request of an operation, and the operation's steps.

    Args:
        router: Finds the operation.
        request: The client's request.
        upstream_facts: Facts about the upstream.
        now: When the request arrived, UTC; None for the current time.

    Raises:
        V1Problem: There is no such operation, or the request does not fit it.
    """
    operation, segments = router.find(request.method, request.path)
    # 2.11 ignores the query of an operation that has neither query parameters nor path parameters.
    query = Query(operation.query, request.query, is_strict=bool(operation.query or segments))
    body = operation.form.read(request.body, request.content_type) if operation.form is not None else {}
    operation_request = OperationRequest(
        operation, segments, query, body, request.accept, upstream_facts, now or datetime.now(UTC)
    )
    steps = _with_shape_errors(
        _only_with_fab(operation_request) if operation.fab else operation.steps(operation_request)
    )
    return operation_request, steps if operation.method == "GET" else with_write_progress(steps)


def _only_with_fab(operation_request: OperationRequest) -> Steps:
    has_fab = yield from operation_request.upstream_facts.has_fab()
    if not has_fab:
        raise V1Problem(400, _FAB_ONLY)
    return (yield from operation_request.operation.steps(operation_request))


def _with_shape_errors(steps: Steps) -> Steps:
    try:
        return (yield from steps)
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        # The document does not have the shape of the upstream's API. Do not log the message: it may quote values.
        logger.warning("upstream: a document that does not fit its API: %s", type(exc).__name__)
        raise V1Problem(502, "the upstream's answer does not fit its API") from None


async def drive(steps: Steps, send: Sender) -> Reply | None:
    """Return the reply of an operation; None if it has been streamed."""
    try:
        call = next(steps)
        while True:
            answer = await send(call)
            if answer is None:
                steps.close()
                return None
            call = steps.send(answer)
    except StopIteration as end:
        reply: Reply = end.value
        return reply
    except V1Problem as problem:
        return problem.reply()

"""Drive a translated operation over anything that can send one request and say what came back. No I/O of its own."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone

from compat_auth.airflow.v1.messages import Answer, Call, Reply, Steps
from compat_auth.airflow.v1.operation import OperationRequest
from compat_auth.airflow.v1.problems import V1Problem
from compat_auth.airflow.v1.router import Router
from compat_auth.airflow.v1.upstream_facts import UpstreamFacts
from compat_auth.airflow.v1.validation.query import Query
from compat_auth.airflow.v1.write_progress import accounted

logger = logging.getLogger(__name__)

Sender = Callable[[Call], Awaitable["Answer | None"]]
"""Send one call. None: its body has gone to the client through the call's rewriter, and nothing is left to say."""
_FAB_ONLY = "This endpoint is only available when using the default auth manager FabAuthManager."


@dataclass(frozen=True, slots=True)
class Request:
    """What a client of `/api/v1` sent.

    Attributes:
        method: Upper case.
        path: Canonical, below `/api/v1`.
        query: Canonical.
        body: Whole.
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
    router: Router, request: Request, facts: UpstreamFacts, moment: datetime | None = None
) -> tuple[OperationRequest, Steps]:
    """Return a request, read by the record of its operation, and the operation's steps.

    Args:
        router: All operations.
        request: As it came.
        facts: Known about the upstream.
        moment: When it came; None for now.

    Raises:
        V1Problem: There is none, or the request does not fit it.
    """
    operation, segments = router.find(request.method, request.path)
    # 2.11 looks at no query of an operation that has neither parameters nor places.
    query = Query(operation.query, request.query, is_strict=bool(operation.query or segments))
    body = operation.form.read(request.body, request.content_type) if operation.form is not None else {}
    asked = OperationRequest(
        operation, segments, query, body, request.accept, facts, moment or datetime.now(timezone.utc)
    )
    steps = _fitting(_only_with_fab(asked) if operation.fab else operation.steps(asked))
    return asked, steps if operation.method == "GET" else accounted(steps)


def _only_with_fab(asked: OperationRequest) -> Steps:
    has_fab = yield from asked.facts.has_fab()
    if not has_fab:
        raise V1Problem(400, _FAB_ONLY)
    return (yield from asked.operation.steps(asked))


def _fitting(steps: Steps) -> Steps:
    try:
        return (yield from steps)
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        # A document of another shape than the upstream's API promises. Not the message: it may quote values.
        logger.warning("upstream: a document that does not fit its API: %s", type(exc).__name__)
        raise V1Problem(502, "the upstream's answer does not fit its API") from None


async def drive(steps: Steps, send: Sender) -> Reply | None:
    """Return the reply of an operation; None when it has been streamed."""
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

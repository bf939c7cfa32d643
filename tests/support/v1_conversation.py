"""An operation of `/api/v1`, driven by hand: a test says what the upstream answers to which call."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from compat_auth.airflow.v1.catalog import ROUTER
from compat_auth.airflow.v1.driver import Request, plan
from compat_auth.airflow.v1.messages import Answer, Call, Reply
from compat_auth.airflow.v1.problems import V1Problem
from compat_auth.airflow.v1.upstream_facts import UpstreamFacts


def says(document: object, status: int = 200) -> Answer:
    """Return an answer of the upstream."""
    return Answer(status, json.dumps(document).encode())


def refuses(status: int, detail: object = "no") -> Answer:
    """Return a refusal of the upstream."""
    return says({"detail": detail}, status)


class Conversation:
    """One request, and the calls that it led to.

    Args:
        request: Method and target.
        body: JSON document; bytes are sent as they are.
        answers: Of the upstream, in order.
        accept: Of the client.
        facts: Known about the upstream.
        moment: When the request came; None for now.
    """

    def __init__(
        self,
        request: str,
        *answers: Answer,
        body: object = None,
        accept: str = "",
        facts: UpstreamFacts | None = None,
        moment: datetime | None = None,
    ) -> None:
        method, _, target = request.partition(" ")
        path, _, query = target.partition("?")
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        asked = Request(method, path.removeprefix("/api/v1"), query, content, "application/json", accept)
        self.calls: list[Call] = []
        left = list(answers)
        try:
            _, steps = plan(ROUTER, asked, facts or UpstreamFacts(), moment)
            call = next(steps)
            while True:
                self.calls.append(call)
                call = steps.send(left.pop(0))
        except StopIteration as end:
            self.reply: Reply = end.value
        except V1Problem as problem:
            self.reply = problem.reply()
        assert not left, f"answers that nobody asked for: {left}"

    @property
    def status(self) -> int:
        """Of the reply."""
        return self.reply.status

    def json(self) -> Any:
        """Return the reply's document."""
        return json.loads(self.reply.body)

    def lines(self) -> list[str]:
        """Return the calls as method and path."""
        return [f"{call.method} {call.path}" for call in self.calls]

    def query(self, number: int = 0) -> Sequence[tuple[str, str]]:
        """Return the query of a call."""
        return self.calls[number].query

    def sent(self, number: int = 0) -> Mapping[str, Any]:
        """Return the body of a call."""
        body = self.calls[number].body
        assert isinstance(body, dict)
        return body

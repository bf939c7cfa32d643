"""An operation that fails when it has written, or may have, says how far it came. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus

from compat_auth.airflow.v1.messages import Answer, Call, Reply, Steps
from compat_auth.airflow.v1.problems import V1Problem

_AGAIN = "Send the request again to complete it."
_LOOK = "Look whether it has been done before you send the request again: that would do it a second time."


def accounted(steps: Steps) -> Steps:
    """Run an operation that changes something; its error tells what is done, what is not, and what nobody knows."""
    account = _Account()
    try:
        call = next(steps)
        while True:
            answer = yield call
            account.enter(call, answer)
            call = steps.send(answer)
    except StopIteration as end:
        reply: Reply = end.value
        return reply
    except V1Problem as problem:
        raise account.told(problem) from None


@dataclass(slots=True)
class _Account:
    """What has become of the writing calls of one request."""

    done: list[str] = field(default_factory=list[str])
    unknown: list[str] = field(default_factory=list[str])
    refused: str = ""
    is_last_done: bool = False
    is_repeatable: bool = True

    def enter(self, call: Call, answer: Answer) -> None:
        self.refused, self.is_last_done = "", call.writes and answer.is_success
        if not call.writes:
            return
        if answer.is_success:
            self.done.append(call.effect)
        elif answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            # The answer may have been lost on its way, when all was done.
            self.unknown.append(call.effect)
            self.is_repeatable &= call.repeatable
        else:
            self.refused = call.effect

    def told(self, problem: V1Problem) -> V1Problem:
        """Return the problem, with the account in its detail; an ordinary refusal stays as it is."""
        why = problem.detail or ""
        parts = [f"Done: {'; '.join(self.done)}."] if self.done else []
        if self.is_last_done:
            parts += [f"Only its answer cannot be told{_in_brackets(why)}."]
        elif self.unknown:
            unknown = f"Not known whether done: {'; '.join(self.unknown)}."
            parts += [unknown, _AGAIN if self.is_repeatable else _LOOK]
        elif self.done:
            parts += [f"Not done: {self.refused or 'what was to follow'}{_in_brackets(why)}.", _AGAIN]
        elif problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            parts += [f"Nothing is changed{_in_brackets(why)}.", "Send the request again."]
        else:
            return problem
        return V1Problem(problem.status, " ".join(parts), title=problem.title, routed=problem.routed)


def _in_brackets(why: str) -> str:
    return f" ({why})" if why else ""

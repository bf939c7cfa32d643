"""Adds to the error of an operation which of its writes have succeeded, failed, or may have succeeded. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus

from compat_auth.airflow.v1.messages import Answer, Call, Reply, Steps
from compat_auth.airflow.v1.problems import V1Problem

_AGAIN = "Send the request again to complete it."
_LOOK = "Check whether it was done before you send the request again: a second request would do it again."


def with_write_progress(steps: Steps) -> Steps:
    """Run an operation that writes; its error says what is done, what is not, and what is unknown."""
    progress = _Progress()
    try:
        call = next(steps)
        while True:
            answer = yield call
            progress.record(call, answer)
            call = steps.send(answer)
    except StopIteration as end:
        reply: Reply = end.value
        return reply
    except V1Problem as problem:
        raise progress.described(problem) from None


@dataclass(slots=True)
class _Progress:
    """The results of the writing calls of one request."""

    done: list[str] = field(default_factory=list[str])
    unknown: list[str] = field(default_factory=list[str])
    rejected: str = ""
    is_last_done: bool = False
    is_repeatable: bool = True

    def record(self, call: Call, answer: Answer) -> None:
        self.rejected, self.is_last_done = "", call.writes and answer.is_success
        if not call.writes:
            return
        if answer.is_success:
            self.done.append(call.effect)
        elif answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            # The upstream may have done the work, and only its answer was lost.
            self.unknown.append(call.effect)
            self.is_repeatable &= call.repeatable
        else:
            self.rejected = call.effect

    def described(self, problem: V1Problem) -> V1Problem:
        """Return the problem with the progress in its detail; an ordinary error stays unchanged."""
        why = problem.detail or ""
        parts = [f"Done: {'; '.join(self.done)}."] if self.done else []
        if self.is_last_done:
            parts += [f"Only its answer could not be read{_in_brackets(why)}."]
        elif self.unknown:
            unknown = f"Not known whether done: {'; '.join(self.unknown)}."
            parts += [unknown, _AGAIN if self.is_repeatable else _LOOK]
        elif self.done:
            parts += [f"Not done: {self.rejected or 'the remaining steps'}{_in_brackets(why)}.", _AGAIN]
        elif problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            parts += [f"Nothing was changed{_in_brackets(why)}.", "Send the request again."]
        else:
            return problem
        return V1Problem(problem.status, " ".join(parts), title=problem.title, routed=problem.routed)


def _in_brackets(why: str) -> str:
    return f" ({why})" if why else ""

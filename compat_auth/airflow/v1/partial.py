"""An operation of several calls that fails between two of them says how far it came. No I/O."""

from __future__ import annotations

from compat_auth.airflow.v1.messages import Answer
from compat_auth.airflow.v1.problems import V1Problem, problem_of


def require_rest(answer: Answer, *, done: str, left: str) -> None:
    """Return when a later call of an operation has done its part.

    Args:
        answer: The later call's.
        done: What earlier calls have changed.
        left: What is still as it was.

    Raises:
        V1Problem: It has not; the detail says what is done and what is left, and that a retry completes it.
    """
    if answer.is_success:
        return
    problem = problem_of(answer)
    why = f" ({problem.detail})" if problem.detail else ""
    raise V1Problem(problem.status, f"Half done: {done}; {left}{why}. Send the request again to complete it.")

"""What the clients have seen, judged at once: each answer is expected, excused by a fault, or a violation."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

GRACE_S: Final = 10.0
"""Seconds after a fault in which it still excuses 502, 503 and 504, unless chosen otherwise."""
NO_ANSWER: Final = 0
UNAVAILABLE: Final = frozenset((NO_ANSWER, 502, 503, 504))
REFUSED: Final = frozenset((401, 403))
ALL: Final = frozenset(("*",))
KEPT: Final = 300
CALM: Final = "calm"


@dataclass(slots=True)
class Window:
    """A fault and its grace, by the monotonic clock.

    Attributes:
        fault: Its name.
        began: When it began.
        ends: When it excuses nothing any more; `inf` while it lasts.
        refuses: Kinds of good credentials that may be refused meanwhile.
    """

    fault: str
    began: float
    ends: float
    refuses: frozenset[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came for one request.

    Attributes:
        kind: Of the credential.
        began: When it was sent, by the monotonic clock.
        ended: When the answer was whole.
        status: HTTP status; `NO_ANSWER` when the connection broke.
        user: Whom the upstream has seen; "" where it was not asked.
        target: Request target that the upstream has seen.
    """

    kind: str
    began: float
    ended: float
    status: int
    user: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Violation:
    """An answer that must not be.

    Attributes:
        rule: Which rule it breaks.
        at_s: Seconds since the soak began.
        text: What came, without any credential.
        faults: What else was going on.
    """

    rule: str
    at_s: float
    text: str
    faults: tuple[str, ...]


@dataclass(slots=True)
class Account:
    """All that was seen so far.

    Attributes:
        clock: Monotonic, in seconds.
        grace_s: For how long after its end a fault still excuses 502, 503 and 504.
        began: When the soak began.
        statuses: By phase (`CALM` or "fault") and status.
        kinds: By kind and status.
        calm_ms: Latencies of expected answers in calm, in whole milliseconds.
        broken: How often each rule was broken.
        violations: The first of them.
        windows: Every fault so far.
    """

    clock: Callable[[], float] = time.monotonic
    grace_s: float = GRACE_S
    began: float = field(init=False)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])
    kinds: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])
    calm_ms: Counter[int] = field(default_factory=Counter[int])
    broken: Counter[str] = field(default_factory=Counter[str])
    violations: list[Violation] = field(default_factory=list[Violation])
    windows: list[Window] = field(default_factory=list[Window])

    def __post_init__(self) -> None:
        self.began = self.clock()

    @property
    def requests(self) -> int:
        """How many requests have ended."""
        return self.kinds.total()

    @contextmanager
    def fault(self, name: str, refuses: Iterable[str] = ()) -> Generator[Window]:
        """Excuse what a fault may do, for the block and its grace."""
        window = Window(name, self.clock(), float("inf"), frozenset(refuses))
        self.windows.append(window)
        try:
            yield window
        finally:
            window.ends = self.clock() + self.grace_s

    def during(self, began: float, ended: float) -> list[Window]:
        """Return the faults that overlap a time."""
        # The newest come last, and old ones are over: an hour of faults is never read as a whole.
        return [one for one in self.windows[-8:] if one.began <= ended and one.ends >= began]

    def add(self, answer: Answer, *, user: str, target: str, expected: frozenset[int] = frozenset((200,))) -> None:
        """Judge one answer.

        Args:
            answer: As it came.
            user: Whom the upstream must have seen where it was asked.
            target: What must have been asked of it.
            expected: Statuses that are right for the credential.
        """
        windows = self.during(answer.began, answer.ended)
        self.kinds[answer.kind, answer.status] += 1
        self.statuses["fault" if windows else CALM, answer.status] += 1
        rule = _broken_rule(answer, user, target, expected, windows)
        if rule:
            self.report(rule, f"{answer.kind}: {answer.status}, upstream saw {answer.user!r}, not {user!r}", windows)
        elif not windows and answer.status in expected:
            self.calm_ms[int((answer.ended - answer.began) * 1000)] += 1

    def report(self, rule: str, text: str, windows: Iterable[Window] = ()) -> None:
        """Keep a violation."""
        self.broken[rule] += 1
        if len(self.violations) < KEPT:
            faults = tuple(one.fault for one in windows)
            self.violations.append(Violation(rule, round(self.clock() - self.began, 1), text, faults))


WRONG_IDENTITY: Final = "an answer is for somebody else"
WRONG_GRANT: Final = "a credential is let in that must be refused"
INTERNAL_ERROR: Final = "an answer is an internal error"
UNAVAILABLE_IN_CALM: Final = "an answer is missing or 502, 503, 504 without a fault"
WRONGLY_REFUSED: Final = "a good credential is refused"
UNEXPECTED: Final = "an answer has a status that nothing explains"
REVOKED_LET_IN: Final = "a revoked credential is let in after a second"
IN_THE_LOG: Final = "a log has a traceback or a secret"
LEAK: Final = "a replica has grown"
NOT_HEALED: Final = "a replica or peer does not come back"
RULES: Final = (
    WRONG_IDENTITY, WRONG_GRANT, REVOKED_LET_IN, INTERNAL_ERROR, UNAVAILABLE_IN_CALM, WRONGLY_REFUSED, UNEXPECTED,
    IN_THE_LOG, LEAK, NOT_HEALED,
)  # fmt: skip


def _broken_rule(answer: Answer, user: str, target: str, expected: frozenset[int], windows: Iterable[Window]) -> str:
    status = answer.status
    if status == 200 and 200 not in expected:
        return WRONG_GRANT
    if status == 200 and (answer.user != user or answer.target != target):
        return WRONG_IDENTITY
    if status in expected or _is_excused(answer, list(windows)):
        return ""
    if status == 500:
        return INTERNAL_ERROR
    if status in UNAVAILABLE:
        return UNAVAILABLE_IN_CALM
    return WRONGLY_REFUSED if status in REFUSED else UNEXPECTED


def _is_excused(answer: Answer, windows: list[Window]) -> bool:
    if answer.status in UNAVAILABLE:
        return bool(windows)
    allowed: frozenset[str] = frozenset().union(*(one.refuses for one in windows))
    return answer.status in REFUSED and not allowed.isdisjoint({answer.kind, *ALL})

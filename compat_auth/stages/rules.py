"""Rules: which stage the uses of a login have, and until when. No I/O, no Flask; times are seconds since the epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from compat_auth.errors import InvalidValue
from compat_auth.scopes import MAX_LENGTH, parse_scope, path_covers

Stage = Literal["on", "warn", "brownout", "throttle", "off"]
STAGES: tuple[Stage, ...] = ("on", "warn", "brownout", "throttle", "off")
UPSTREAM = "upstream"
"""The backend of a request with a JWT or cookie of the upstream, which the upstream checks."""
V1 = "v1"
"""The operation that stands for every operation of `/api/v1`."""
DAY_S = 86400
WEEK_S = 7 * DAY_S
GONE, UNAUTHORIZED = 410, 401


@dataclass(frozen=True, slots=True)
class Selector:
    """The uses that a rule is about; "" stands for any.

    Attributes:
        backend: Name of the backend that accepts the credential, or that accepted the one from which it was made.
        operation: `METHOD /path` as a scope spells it, `/path` for every method, or `v1`.
        principal: User name; names compare without case.
    """

    backend: str = ""
    operation: str = ""
    principal: str = ""

    def __str__(self) -> str:
        named = (("backend", self.backend), ("operation", self.operation), ("principal", self.principal))
        return ", ".join(f"{kind} {value!r}" for kind, value in named if value) or "everything"


@dataclass(frozen=True, slots=True)
class Operation:
    """A parsed operation: a method, "" for any, and the path of a scope."""

    method: str
    path: str

    def covers(self, method: str, path: str) -> bool:
        """Return whether it is about a request, in this one reading of its path; an operation for GET also covers HEAD."""
        if self.method not in ("", method) and not (method == "HEAD" and self.method == "GET"):
            return False
        return path_covers(self.path, path)


def parse_operation(text: str) -> Operation:
    """Return the operation that a text spells; `METHOD:/path` is the same as `METHOD /path`.

    Raises:
        InvalidValue: It spells none.
    """
    if text == V1:
        return Operation("", "/api/v1/")
    method, _, path = text.partition("/")
    method, path = method.rstrip(" :"), f"/{path}"
    try:
        scope = parse_scope(f"{method or 'GET'} {path}") if "/" in text and len(text) <= MAX_LENGTH else None
    except ValueError:
        scope = None
    if scope is None:
        raise InvalidValue(
            f"operation {text!r}: write 'METHOD /path', such as 'POST /api/v2/dags/{{dag_id}}/dagRuns', '/path/' for "
            "everything below a path, or v1"
        )
    return Operation(scope.method if method else "", scope.path)


def spelled(operation: str) -> str:
    """Return an operation in its one spelling, so that a rule for it is found again.

    Raises:
        InvalidValue: See `parse_operation`.
    """
    if operation in ("", V1):
        return operation
    parsed = parse_operation(operation)
    return f"{parsed.method} {parsed.path}".strip()


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which a brownout refuses, once or again and again.

    Attributes:
        start: Its first second.
        length_s: Its length.
        every_s: After so many seconds the next one begins; 0: there is no next one.
    """

    start: int
    length_s: int
    every_s: int = 0

    def __post_init__(self) -> None:
        if self.length_s <= 0 or self.start < 0 or (self.every_s and self.length_s >= self.every_s):
            raise InvalidValue("window: it must end after it begins, and before the next one begins")

    def end_at(self, now: float) -> int | None:
        """Return the end of the window in which a moment is, the first second outside it; None: it is in none."""
        second = math.floor(now)
        passed = second - self.start
        if passed < 0:
            return None
        begun = self.start + (passed // self.every_s * self.every_s if self.every_s else 0)
        return begun + self.length_s if second < begun + self.length_s else None

    def next_start(self, now: float) -> int | None:
        """Return the start of the next window; None: none is left."""
        if now < self.start:
            return self.start
        if not self.every_s:
            return None
        return self.start + ((math.floor(now) - self.start) // self.every_s + 1) * self.every_s


@dataclass(frozen=True, slots=True)
class StageRule:
    """A rule.

    Attributes:
        selector: The uses that it is about.
        stage: Their stage.
        until: From then on the rule no longer counts; None: it always does.
        deprecated: Since when, or from when, the use is deprecated (RFC 9745).
        sunset: When it is to end (RFC 8594); None: nobody knows yet.
        windows: The windows of a brownout.
        status: Of a brownout's refusal: 410 or 401.
        per_minute: How many requests a minute a throttle lets through.
        operation: The operation, parsed.

    Raises:
        InvalidValue: The parts do not fit together.
    """

    selector: Selector
    stage: Stage
    until: int | None = None
    deprecated: int | None = None
    sunset: int | None = None
    windows: tuple[Window, ...] = ()
    status: int = GONE
    per_minute: int = 0
    operation: Operation | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        operation = parse_operation(self.selector.operation) if self.selector.operation else None
        object.__setattr__(self, "operation", operation)
        if self.stage not in STAGES:
            raise InvalidValue(f"stage {self.stage!r}: one of {', '.join(STAGES)}")
        if bool(self.windows) != (self.stage == "brownout"):
            raise InvalidValue("window: a brownout has at least one, and no other stage has any")
        if (self.per_minute > 0) != (self.stage == "throttle"):
            raise InvalidValue("per minute: a throttle has a number above 0, and no other stage has one")
        if self.status not in (GONE, UNAUTHORIZED):
            raise InvalidValue("status: 410 or 401")
        if self.sunset is not None and self.sunset < (self.deprecated or 0):
            # RFC 9745 section 4.
            raise InvalidValue("sunset: earlier than the deprecation; choose a later date, or an earlier deprecation")

    def holds(self, now: float) -> bool:
        """Return whether the rule still counts."""
        return self.until is None or now < self.until

    def window_end(self, now: float) -> int | None:
        """Return the end of the window in which a moment is; None: it is in none."""
        return max((end for window in self.windows if (end := window.end_at(now)) is not None), default=None)

    def next_window(self, now: float) -> int | None:
        """Return the start of the next window; None: none is left."""
        starts = (start for window in self.windows if (start := window.next_start(now)) is not None)
        return min(starts, default=None)

    def severity(self, now: float) -> int:
        """Return how much the rule takes away at a moment: from 0, nothing, to 4, everything."""
        if self.stage == "brownout":
            return 3 if self.window_end(now) is not None else 1
        return {"on": 0, "warn": 1, "throttle": 2, "off": 4}[self.stage]


def stage_named(text: str) -> Stage:
    """Return the stage of that name.

    Raises:
        InvalidValue: There is none.
    """
    if text not in STAGES:
        raise InvalidValue(f"stage {text!r}: one of {', '.join(STAGES)}")
    return text

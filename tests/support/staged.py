"""Stages that a test sets, at a moment that it chooses."""

from __future__ import annotations

from typing import Any, cast

from flask import Flask

from compat_auth.stages.choice import RuleSet
from compat_auth.stages.enforcement import Stages
from compat_auth.stages.memory import StageMemory
from compat_auth.stages.of_app import set_stages
from compat_auth.stages.rules import Selector, Stage, StageRule, Window

NOON = 1_800_000_000
"""2027-01-15T08:00:00Z, a Friday."""
PAGE = "https://wiki.example.org/logins"


class Moment:
    """A wall clock that stands still until the test moves it."""

    def __init__(self, second: float = NOON) -> None:
        self.second = second

    def __call__(self) -> float:
        return self.second


class FixedMemory:
    """Knows the rules that the test has set."""

    def __init__(self, *rules: StageRule) -> None:
        self.rules: RuleSet | None = RuleSet(rules)

    def peek(self) -> RuleSet | None:
        return self.rules

    def current(self) -> RuleSet:
        assert self.rules is not None
        return self.rules


def rule(stage: Stage, backend: str = "", operation: str = "", principal: str = "", **more: Any) -> StageRule:
    """Return a rule."""
    return StageRule(Selector(backend, operation, principal), stage, **more)


def brownout(start: int, length_s: int, backend: str = "", *, status: int = 410, **more: Any) -> StageRule:
    """Return a rule with one window."""
    return rule("brownout", backend, windows=(Window(start, length_s),), status=status, **more)


def stages_with(*rules: StageRule, now: Moment | None = None, backends: tuple[Any, ...] = (), **more: Any) -> Stages:
    """Return stages with these rules."""
    memory = cast("StageMemory", FixedMemory(*rules))
    return Stages(memory, backends, page=PAGE, now=now or Moment(), **more)


def staged_app(*rules: StageRule, now: Moment | None = None, **more: Any) -> Flask:
    """Return an app of backends with these stages."""
    app = Flask("test")
    set_stages(app, stages_with(*rules, now=now, **more))
    return app

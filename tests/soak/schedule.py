"""Which fault comes when: a list that depends on the seed alone, so that a run can be repeated."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

CALM_S: Final = (3.0, 12.0)
"""Shortest and longest pause after the grace of a fault, in which everything must be well."""
TOGETHER: Final = 0.15
"""How often two faults come at once."""


@dataclass(frozen=True, slots=True)
class Step:
    """One moment of the schedule.

    Attributes:
        calm_s: Seconds to wait first, besides the grace of the last fault.
        faults: Names of the faults that begin together.
        seed: For what the faults themselves choose, such as a replica.
    """

    calm_s: float
    faults: tuple[str, ...]
    seed: int


def make_schedule(seed: int, harms: Mapping[str, frozenset[str]], steps: int) -> list[Step]:
    """Return so many steps.

    Each fault comes once before any comes again, in an order that the seed chooses. Two faults that come together never
    harm the same program.

    Args:
        seed: Of the run.
        harms: Name of each fault, and what it harms.
        steps: How many.
    """
    chosen = random.Random(seed)  # noqa: S311  # to be repeated, not to be secret
    left: list[str] = []
    made: list[Step] = []
    while len(made) < steps:
        first = _take(left, harms, chosen, frozenset())
        together = [first]
        if chosen.random() < TOGETHER and any(harms[first].isdisjoint(other) for other in harms.values()):
            together.append(_take(left, harms, chosen, harms[first]))
        made.append(Step(round(chosen.uniform(*CALM_S), 2), tuple(together), chosen.randrange(2**32)))
    return made


def _take(left: list[str], harms: Mapping[str, frozenset[str]], chosen: random.Random, without: frozenset[str]) -> str:
    usable: Sequence[str] = [name for name in left if harms[name].isdisjoint(without)]
    if not usable:
        # What is still to come stays ahead of what has been.
        left += [name for name in chosen.sample(sorted(harms), len(harms)) if name not in left]
        usable = [name for name in left if harms[name].isdisjoint(without)]
    left.remove(usable[0])
    return usable[0]

"""The last day of a backend, if its use goes on to fall as it did: a straight line through the days. No I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

MIN_DAYS: Final = 14
"""Whole days of use before there is a forecast."""
MAX_DAYS: Final = 56
"""Days through which the line goes: eight weeks."""
_MOST_AHEAD: Final = 3650
_MIN_FIT: Final = 0.3


@dataclass(frozen=True, slots=True)
class Forecast:
    """A forecast.

    Attributes:
        kind: `ends`: with a day; `over`: not used for a week; `too little data`: fewer than 14 days; `no end`: use does not
            fall; `unclear`: the days differ too much for a line.
        day: The last day with use, in days since the epoch; None: no such day is known.
    """

    kind: Literal["ends", "over", "too little data", "no end", "unclear"]
    day: int | None = None


def forecast(by_day: Sequence[int], first_day: int) -> Forecast:
    """Return the forecast for one backend.

    Args:
        by_day: Requests of each whole day from its first use to yesterday, UTC.
        first_day: The first of these days, in days since the epoch.
    """
    if len(by_day) < MIN_DAYS:
        return Forecast("too little data")
    used = [place for place, count in enumerate(by_day) if count]
    if not any(by_day[-7:]):
        return Forecast("over", first_day + used[-1] if used else None)
    found = by_day[-MAX_DAYS:]
    start = first_day + len(by_day) - len(found)
    size = len(found)
    middle, mean = (size - 1) / 2, sum(found) / size
    spread = sum((place - middle) ** 2 for place in range(size))
    slope = sum((place - middle) * (count - mean) for place, count in enumerate(found)) / spread
    total = sum((count - mean) ** 2 for count in found)
    if slope >= 0 or not total:
        return Forecast("no end")
    if slope**2 * spread / total < _MIN_FIT:
        return Forecast("unclear")
    zero = middle - mean / slope
    # The day before the line meets zero; a rounding error makes no day of its own.
    last = math.ceil(zero - 1e-6) - 1
    if last - size > _MOST_AHEAD:
        return Forecast("no end")
    # A line that is below zero already says no more than "soon".
    return Forecast("ends", start + max(size, last))

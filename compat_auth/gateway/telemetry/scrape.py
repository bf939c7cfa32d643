"""Values of a process and of the servers that it uses, at the time of a scrape."""

from __future__ import annotations

import asyncio
import logging
import platform
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from compat_auth import __version__
from compat_auth.audit.losses import LOSSES
from compat_auth.errors import CompatAuthError
from compat_auth.telemetry import counts, families
from compat_auth.telemetry.counts import Snapshot
from compat_auth.telemetry.families import Family

logger = logging.getLogger("compat_auth.metrics")

PROBE_S = 3.0
"""Seconds after which a scrape no longer waits for a value."""
# What does not answer within this time is not up: the metric must be 0 then, and not be missing.
_UP_S = PROBE_S - 0.5
_KEPT_S = 5.0
Value = Callable[[], Awaitable[float | None]]
"""Returns a value; None: there is none. Raises where it cannot be found out."""


def is_up(require: Callable[[], Awaitable[None]]) -> Value:
    """Return a value that is 1 unless the requirement raises CompatAuthError or an error of the network, or hangs."""

    async def value() -> float:
        try:
            await asyncio.wait_for(require(), _UP_S)
        except (CompatAuthError, OSError):
            return 0.0
        return 1.0

    return value


def on_thread(find: Callable[[], float | None]) -> Value:
    """Return the value of a function that may block."""

    async def value() -> float | None:
        return await asyncio.to_thread(find)

    return value


@dataclass(slots=True)
class _Kept:
    numbers: Snapshot = field(default_factory=dict[str, "dict[tuple[str, ...], list[float]]"])
    until: float = float("-inf")


class Surroundings:
    """The values that are the same for all workers; whichever answers a scrape finds them out.

    They are kept for five seconds: scrapes must be no load for what they ask.

    Args:
        values: By metric, each a gauge without labels.
        monotonic: Clock, in seconds.
    """

    def __init__(self, values: dict[str, Value], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._values = values
        self._monotonic = monotonic
        self._kept = _Kept()
        self._lock = asyncio.Lock()

    async def numbers(self) -> Snapshot:
        """Return the values."""
        async with self._lock:
            if self._monotonic() >= self._kept.until:
                self._kept = _Kept(await self._find(), self._monotonic() + _KEPT_S)
            return self._kept.numbers

    async def _find(self) -> Snapshot:
        names = list(self._values)
        found = await asyncio.gather(*(self._one(name) for name in names))
        numbers: Snapshot = {
            name: {(): [value]} for name, value in zip(names, found, strict=True) if isinstance(value, float)
        }
        numbers[families.SCRAPE_ERRORS.name] = {(): [float(sum(value is False for value in found))]}
        numbers[families.BUILD_INFO.name] = {(__version__, platform.python_version()): [1.0]}
        return numbers

    async def _one(self, name: str) -> float | bool | None:
        """Return a value; False where it cannot be found out."""
        try:
            value = await asyncio.wait_for(self._values[name](), PROBE_S)
        except (TimeoutError, CompatAuthError, OSError, ValueError) as error:
            logger.warning("metrics: %s cannot be found out (%s)", name, type(error).__name__)
            return False
        return None if value is None else float(value)


Part = Callable[[], list[tuple[Family, tuple[str, ...], float]]]
"""Returns gauges of this process."""


@dataclass(frozen=True, slots=True)
class ProcessNumbers:
    """The numbers of this process.

    Attributes:
        parts: Return its gauges.
    """

    parts: tuple[Part, ...]

    def counts(self) -> Snapshot:
        """Return its counters and histograms."""
        return counts.snapshot(LOSSES.lost)

    def gauges(self) -> Snapshot:
        """Return its gauges."""
        numbers: Snapshot = {}
        for part in self.parts:
            for family, labels, value in part():
                numbers.setdefault(family.name, {})[labels] = [float(value)]
        return numbers

"""The numbers of this process: plain integers and floats in memory, which a scrape collects.

`Count.value` may be increased without a lock by the event loop's thread alone; every other thread calls `Counter.add`.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable
from typing import Final

from compat_auth.telemetry import families
from compat_auth.telemetry.families import BUCKETS_S, Family

Labels = tuple[str, ...]
Snapshot = dict[str, dict[Labels, list[float]]]
"""By family and labels: one number, or for a histogram the count of each bucket and then the sum."""

MAX_SERIES: Final = 500
"""Series of one family. Labels come from the configuration; beyond this number they are all `other`."""
OTHER: Final = "other"


class Count:
    """One series of a counter.

    Attributes:
        value: The count.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Counter:
    """The series of one counter.

    Args:
        family: Which counter.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self._series: dict[Labels, Count] = {}
        self._lock = threading.Lock()

    def series(self, *labels: str) -> Count:
        """Return the series with these labels."""
        found = self._series.get(labels)
        if found is None:
            with self._lock:
                if len(self._series) >= MAX_SERIES and labels not in self._series:
                    labels = (OTHER,) * len(labels)
                found = self._series.setdefault(labels, Count())
        return found

    def add(self, *labels: str, by: int = 1) -> None:
        """Count one, or as many as `by` says, on any thread."""
        count = self.series(*labels)
        with self._lock:
            count.value += by

    def snapshot(self) -> dict[Labels, list[float]]:
        """Return the numbers."""
        return {labels: [count.value] for labels, count in list(self._series.items())}


class Duration:
    """One series of a histogram; for the event loop's thread."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.sum_s += seconds


class Histogram:
    """The series of one histogram with one label.

    Args:
        family: Which histogram.
        stages: Values of its label.
    """

    def __init__(self, family: Family, stages: Labels) -> None:
        self.family = family
        self._series = {stage: Duration() for stage in stages}

    def series(self, stage: str) -> Duration:
        """Return the series with this label."""
        return self._series[stage]

    def snapshot(self) -> dict[Labels, list[float]]:
        """Return the numbers."""
        return {(stage,): [*map(float, each.counts), each.sum_s] for stage, each in self._series.items()}


decisions = Counter(families.DECISIONS)
requests = Counter(families.REQUESTS)
refusals = Counter(families.REFUSALS)
cache_lookups = Counter(families.CACHE_LOOKUPS)
lane_answers = Counter(families.LANE_ANSWERS)
upstream_responses = Counter(families.UPSTREAM_RESPONSES)
upstream_failures = Counter(families.UPSTREAM_FAILURES)
usage_folded = Counter(families.USAGE_FOLDED)
stages = Histogram(families.STAGE_SECONDS, ("decision", "upstream", "request"))

_ALL: tuple[Counter | Histogram, ...] = (
    decisions,
    requests,
    refusals,
    cache_lookups,
    lane_answers,
    upstream_responses,
    upstream_failures,
    usage_folded,
    stages,
)
_CLASSES = ("none", "2xx", "3xx", "4xx", "5xx")
_cached: dict[str, Count] = {}
GRANT_HITS, GRANT_MISSES = cache_lookups.series("grants", "hit"), cache_lookups.series("grants", "miss")
LANE_YES, LANE_NO = lane_answers.series("yes"), lane_answers.series("no")
DECISION, UPSTREAM, REQUEST = stages.series("decision"), stages.series("upstream"), stages.series("request")


def status_class(status: int) -> str:
    """Return the class of an HTTP status, such as "2xx"; "none" where there was no answer."""
    return _CLASSES[status // 100 - 1] if 200 <= status < 600 else _CLASSES[0]


class ByStatus:
    """The series of a counter for one way, by the class of the status; for the event loop's thread.

    Args:
        counter: The counter; its last label is the class.
        labels: The labels before it.
    """

    __slots__ = ("_counts",)

    def __init__(self, counter: Counter, *labels: str) -> None:
        self._counts = [counter.series(*labels, name) for name in _CLASSES]

    def count(self, status: int) -> None:
        """Count one answer."""
        self._counts[status // 100 - 1 if 200 <= status < 600 else 0].value += 1


APPLICATION = ByStatus(requests, "application")
FAST = ByStatus(requests, "fast")
FAST_FORWARD_AUTH = ByStatus(requests, "fast_forward_auth")
UPSTREAM_ANSWERS = ByStatus(upstream_responses)


def count_cached(backend: str) -> None:
    """Count a request that a remembered grant of this backend decides; on the event loop."""
    count = _cached.get(backend)
    if count is None:
        count = _cached[backend] = decisions.series(backend, "accept", "cache")
    count.value += 1
    GRANT_HITS.value += 1


def snapshot(lost_lines: int = 0) -> Snapshot:
    """Return the counters and histograms of this process.

    Args:
        lost_lines: Lines of the audit log that could not be written.
    """
    found = {each.family.name: each.snapshot() for each in _ALL}
    found[families.AUDIT_LINES_LOST.name] = {(): [lost_lines]}
    return found


def merge(snapshots: list[Snapshot]) -> Snapshot:
    """Return the sums."""
    merged: Snapshot = {}
    for one in snapshots:
        for family, series in one.items():
            sums = merged.setdefault(family, {})
            for labels, numbers in series.items():
                before = sums.get(labels)
                sums[labels] = numbers if before is None else [a + b for a, b in zip(before, numbers, strict=True)]
    return merged


Gauges = Callable[[], Snapshot]
"""Returns values of this process at this moment; those of all workers are added."""

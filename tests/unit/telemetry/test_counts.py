"""Counters and histograms of one process: sums, bounds, and threads."""

from __future__ import annotations

import threading

import pytest

from compat_auth.telemetry import counts, families
from compat_auth.telemetry.counts import MAX_SERIES, Counter, Duration, Snapshot, merge
from compat_auth.telemetry.families import BUCKETS_S, FAMILIES, Family

FAMILY = Family("x", "counter", "A counter.", ("reason",))


def test_a_counter_counts_each_combination_of_labels_by_itself() -> None:
    counter = Counter(FAMILY)

    for reason in ("a", "b", "a"):
        counter.add(reason)

    assert counter.snapshot() == {("a",): [2], ("b",): [1]}


def test_a_counter_has_a_bounded_number_of_series() -> None:
    counter = Counter(FAMILY)

    for number in range(MAX_SERIES + 50):
        counter.add(f"reason {number}")

    assert len(counter.snapshot()) == MAX_SERIES + 1
    assert counter.snapshot()[("other",)] == [50]


def test_no_count_of_a_thread_is_lost() -> None:
    counter = Counter(FAMILY)

    def count() -> None:
        for _ in range(2000):
            counter.add("a")

    threads = [threading.Thread(target=count) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counter.snapshot() == {("a",): [8000]}


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (BUCKETS_S[0], 0), (0.0006, 1), (BUCKETS_S[-1], len(BUCKETS_S) - 1), (31.0, len(BUCKETS_S))],
)
def test_a_duration_is_in_the_first_bucket_that_is_long_enough(seconds: float, bucket: int) -> None:
    duration = Duration()

    duration.observe(seconds)

    assert duration.counts.index(1) == bucket
    assert duration.sum_s == seconds


@pytest.mark.parametrize(
    ("status", "name"), [(0, "none"), (101, "none"), (200, "2xx"), (404, "4xx"), (599, "5xx"), (600, "none")]
)
def test_a_status_is_counted_by_its_class(status: int, name: str) -> None:
    counter = Counter(Family("y", "counter", "A counter.", ("status",)))

    counts.ByStatus(counter).count(status)

    assert counts.status_class(status) == name
    assert counter.snapshot()[(name,)] == [1]


def test_the_numbers_of_processes_are_added_series_by_series() -> None:
    one: Snapshot = {"a": {("x",): [1.0], ("y",): [2.0]}, "h": {(): [1.0, 0.0, 0.5]}}
    other: Snapshot = {"a": {("y",): [3.0]}, "h": {(): [0.0, 2.0, 1.5]}, "b": {(): [1.0]}}

    merged = merge([one, other])

    assert merged == {"a": {("x",): [1.0], ("y",): [5.0]}, "h": {(): [1.0, 2.0, 2.0]}, "b": {(): [1.0]}}


def test_every_series_has_the_labels_of_its_family() -> None:
    counts.count_cached("basic_auth")
    counts.refusals.add("NotPermitted")
    names = {family.name: family for family in FAMILIES}

    taken = counts.snapshot(3)

    assert taken[families.AUDIT_LINES_LOST.name] == {(): [3]}
    for name, series in taken.items():
        assert {len(labels) for labels in series} <= {len(names[name].labels)}, name

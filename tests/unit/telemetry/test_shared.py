"""The numbers of all workers in shared memory."""

from __future__ import annotations

import pytest

from compat_auth.telemetry.counts import Snapshot
from compat_auth.telemetry.shared import SLOT_BYTES, SharedNumbers, WorkerNumbers

NOTHING: Snapshot = {}


def counted(number: float) -> Snapshot:
    return {"requests": {("fast", "2xx"): [number]}}


def numbers_of(shared: SharedNumbers, worker: int, number: float, gauge: float = 0.0) -> WorkerNumbers:
    return WorkerNumbers(shared, worker, lambda: counted(number), lambda: {"connections": {(): [gauge]}})


def test_a_worker_answers_with_the_sums_of_all() -> None:
    shared = SharedNumbers(3)
    numbers_of(shared, 0, 2, 5).publish()
    numbers_of(shared, 2, 3, 7).publish()

    found = numbers_of(shared, 1, 10, 1).of_all()

    assert found == {"requests": {("fast", "2xx"): [15]}, "connections": {(): [13]}}


def test_the_worker_that_replaces_another_continues_with_its_counters_and_not_with_its_gauges() -> None:
    shared = SharedNumbers(1)
    numbers_of(shared, 0, 40, 9).publish()

    replacement = numbers_of(shared, 0, 2, 1)
    replacement.publish()
    replacement.publish()

    assert shared.counts(0) == counted(42)
    assert shared.gauges(0) == {"connections": {(): [1]}}


def test_a_slot_that_nobody_has_written_has_no_numbers() -> None:
    shared = SharedNumbers(1)

    assert (shared.counts(0), shared.gauges(0)) == ({}, {})


def test_a_torn_slot_is_not_believed() -> None:
    shared = SharedNumbers(1)
    shared.write(0, counted(7), NOTHING)

    shared._page[20] ^= 0xFF

    assert shared.counts(0) == {}


def test_numbers_that_do_not_fit_leave_the_last_ones_and_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    shared = SharedNumbers(1)
    shared.write(0, counted(7), NOTHING)
    too_many: Snapshot = {"requests": {("x" * SLOT_BYTES,): [1.0]}}

    shared.write(0, too_many, NOTHING)
    shared.write(0, too_many, NOTHING)

    assert shared.counts(0) == counted(7)
    assert len(caplog.records) == 1

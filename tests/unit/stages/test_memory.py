"""The rules in memory: how a change is seen, and what counts while the store is away."""

from __future__ import annotations

from typing import cast

import pytest

from compat_auth.errors import BackendUnavailable
from compat_auth.stages.memory import StageMemory
from compat_auth.store.tables.stage_rules import StageRow, StageRuleRows
from support.stand_ins import Clock


class Rows:
    """A table that the test changes, takes away or has never had."""

    def __init__(self) -> None:
        self.is_there = True
        self.is_away = False
        self.rows: tuple[StageRow, ...] = ()
        self.mark = (0, 0)
        self.reads = 0

    def put(self, *rows: StageRow) -> None:
        self.rows, self.mark = rows, (len(rows), self.mark[1] + 1)

    def read(self, known: tuple[int, int] | None) -> tuple[tuple[int, int], tuple[StageRow, ...]] | None:
        self.reads += 1
        if self.is_away:
            raise BackendUnavailable("away")
        return None if known == self.mark else (self.mark, self.rows)


def world() -> tuple[StageMemory, Rows, Clock]:
    rows, clock = Rows(), Clock()
    return StageMemory(cast("StageRuleRows", rows), monotonic=clock), rows, clock


OFF = StageRow("basic_auth", "", "", "off")


def test_a_change_is_known_at_the_next_read() -> None:
    memory, rows, clock = world()
    first = memory.current()

    rows.put(OFF)
    clock.time += 1

    assert first.rules == ()
    assert [rule.stage for rule in memory.current().rules] == ["off"]


def test_the_store_is_asked_at_most_twice_a_second() -> None:
    memory, rows, clock = world()

    for _ in range(100):
        memory.current()
        clock.time += 0.01

    assert rows.reads <= 3


def test_rules_stay_known_while_the_store_is_away() -> None:
    memory, rows, clock = world()
    rows.put(OFF)
    memory.current()

    rows.is_away = True
    clock.time += 3600

    assert [rule.stage for rule in memory.current().rules] == ["off"]


def test_a_process_that_never_read_the_rules_does_not_guess() -> None:
    memory, rows, clock = world()
    rows.is_away = True

    with pytest.raises(BackendUnavailable, match="away"):
        memory.current()

    rows.is_away = False
    clock.time += 1
    assert memory.current().rules == ()


def test_a_store_that_never_existed_has_no_rules() -> None:
    memory, rows, _ = world()
    rows.is_there = False

    assert memory.current().rules == ()
    assert rows.reads == 0


def test_a_row_that_nobody_understands_is_not_skipped() -> None:
    memory, rows, clock = world()
    rows.put(OFF)
    memory.current()

    rows.put(StageRow("basic_auth", "", "", "dim"))
    clock.time += 1

    assert [rule.stage for rule in memory.current().rules] == ["off"]


def test_a_closed_process_asks_the_store_no_more() -> None:
    memory, rows, _ = world()
    memory.current()
    asked = rows.reads

    memory.close()
    memory.refresh()

    assert rows.reads == asked

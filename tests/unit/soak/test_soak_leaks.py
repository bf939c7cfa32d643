import os
from dataclasses import replace

import pytest

from soak.leaks import MORE_FILES, MORE_MEMORY, MORE_MEMORY_MIB, MORE_THREADS, Held, grown, measure

BEFORE = Held(processes=3, memory_mib=200.0, threads=30, files=70)
MOST = Held(3, 200.0 * MORE_MEMORY + MORE_MEMORY_MIB, 30 + MORE_THREADS, 70 + MORE_FILES)


def test_what_stays_within_the_bounds_has_not_grown() -> None:
    assert grown(BEFORE, BEFORE) == grown(BEFORE, MOST) == {}


@pytest.mark.parametrize(
    ("after", "name"),
    [
        pytest.param(replace(MOST, memory_mib=MOST.memory_mib + 1), "memory", id="memory"),
        pytest.param(replace(MOST, threads=MOST.threads + 1), "threads", id="threads"),
        pytest.param(replace(MOST, files=MOST.files + 1), "files", id="files"),
        pytest.param(replace(MOST, processes=4), "processes", id="processes"),
    ],
)
def test_what_is_beyond_its_bound_is_named(after: Held, name: str) -> None:
    assert list(grown(BEFORE, after)) == [name]


def test_this_process_holds_something() -> None:
    held = measure([os.getpid()])

    assert held.processes == 1
    assert held.memory_mib > 1
    assert min(held.threads, held.files) >= 1


def test_a_process_that_has_ended_holds_nothing() -> None:
    assert measure([2**22 - 1]) == Held()

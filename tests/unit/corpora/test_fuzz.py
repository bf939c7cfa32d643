"""The kept inputs of each parser are parsed or refused, and the command that grows them keeps what is new."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpora import fuzz
from corpora.fuzz_targets import TARGETS, Target, check


def inputs() -> Iterator[object]:
    for name in TARGETS:
        for path in sorted((fuzz.FOLDER / name).glob("*")):
            yield pytest.param(name, path.read_bytes(), id=f"{name}-{path.name}")


@pytest.mark.parametrize(("name", "data"), list(inputs()))
def test_a_kept_input_is_parsed_or_refused(name: str, data: bytes) -> None:
    check(TARGETS[name], data)


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_to_begin_with_is_parsed_or_refused(name: str) -> None:
    seeds = list(TARGETS[name].seeds())

    for data in seeds:
        check(TARGETS[name], data)

    assert seeds


def test_each_folder_belongs_to_a_parser() -> None:
    assert {path.name for path in fuzz.FOLDER.iterdir()} <= {*TARGETS}


def test_an_input_that_breaks_a_promise_is_kept_and_stops_the_growth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_at_a_brace(data: bytes) -> None:
        if b"{" in data:
            raise ValueError("a brace")

    monkeypatch.setattr(fuzz, "FOLDER", tmp_path)
    monkeypatch.setitem(TARGETS, "broken", Target(fails_at_a_brace, (KeyError,), lambda: iter((b"a",))))

    with pytest.raises(ValueError, match="a brace"):
        fuzz.grow("broken", seconds=20, seed=1)

    assert [b"{" in found for found in fuzz.kept("broken")].count(True) == 1


def test_the_same_seed_makes_the_same_changes() -> None:
    made = [
        fuzz.changed(b"/api/v2", [b"/x"], random.Random(seed))  # noqa: S311  # not a secret
        for seed in (1, 1, 2)
    ]

    assert made[0] == made[1] != made[2]


def test_whoever_traces_the_tests_goes_on_afterwards() -> None:
    def trace(*_arguments: object) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    fuzz.steps_of(TARGETS["path"], b"/a")
    after = sys.gettrace()
    sys.settrace(before)

    assert after is trace


def test_a_step_of_our_own_code_is_seen() -> None:
    plain = fuzz.steps_of(TARGETS["path"], b"/a")
    odd = fuzz.steps_of(TARGETS["path"], b"/%61/../b")

    assert plain
    assert odd - plain

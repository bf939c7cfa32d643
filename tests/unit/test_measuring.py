"""The tests with real peers run without a tracer, and what was measured before and after them is kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support import measuring
from support.measuring import Measuring
from support.peers.groups import UNMEASURED, is_measured

PEERS = Path(__file__).parents[1] / "peers"
CONFIG = "COVERAGE_PROCESS_CONFIG"


class Tracer:
    """Stands in for the Coverage of this process, whose tests may be measured themselves."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def current(self) -> Tracer | None:
        return None if self.calls and self.calls[-1] == "stop" else self

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")

    def save(self) -> None:
        self.calls.append("save")


@pytest.fixture
def tracer(monkeypatch: pytest.MonkeyPatch) -> Tracer:
    tracer = Tracer()
    monkeypatch.setattr(measuring, "Coverage", tracer)
    monkeypatch.setenv(CONFIG, "as it was")
    return tracer


def test_while_it_is_paused_neither_this_process_nor_one_that_it_starts_is_measured(tracer: Tracer) -> None:
    measured = Measuring()

    measured.pause()
    measured.pause()

    assert tracer.calls == ["stop"]
    assert CONFIG not in os.environ


def test_afterwards_both_are_measured_again(tracer: Tracer) -> None:
    measured = Measuring()

    measured.pause()
    measured.resume()
    measured.resume()

    assert tracer.calls == ["stop", "start"]
    assert os.environ[CONFIG] == "as it was"


def test_what_was_measured_is_saved_when_the_last_test_was_not(tracer: Tracer) -> None:
    measured = Measuring()

    measured.pause()
    measured.save()

    assert tracer.calls[-1] == "save"


def test_what_was_never_measured_stays_so(tracer: Tracer) -> None:
    tracer.calls.append("stop")
    measured = Measuring()

    measured.pause()
    measured.resume()
    measured.save()

    assert tracer.calls == ["stop"]
    assert os.environ[CONFIG] == "as it was"


@pytest.mark.parametrize("name", ["unit/test_scopes.py", "integration/test_packaging.py", "peers/test_kinit.py"])
def test_what_reaches_lines_that_nothing_else_does_is_measured(name: str) -> None:
    assert is_measured(f"tests/{name}")


@pytest.mark.parametrize("name", ["performance/test_targets.py", "peers/test_soak.py"])
def test_a_load_is_not_measured(name: str) -> None:
    assert not is_measured(f"tests/{name}")


def test_every_file_that_is_named_is_there() -> None:
    missing = [name for name in UNMEASURED if not (PEERS / name).is_file()]

    assert missing == []

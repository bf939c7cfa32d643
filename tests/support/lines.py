"""Which tests run each line of some files, and how long each test takes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from coverage import Coverage


@dataclass(frozen=True, slots=True)
class Lines:
    """What was measured.

    Attributes:
        seconds: CPU time of each test that ends well; in the order in which they ran.
        tests: For each file and line, the places in `seconds` of the tests that run it.
    """

    seconds: dict[str, float]
    tests: dict[str, dict[int, list[int]]]

    def of(self, file: Path, lines: Iterable[int] = ()) -> list[str]:
        """Return the tests that run any of the lines of a file; without lines, or where no test does, those of all lines."""
        of_file = self.tests.get(str(file), {})
        found = {test for line in lines for test in of_file.get(line, ())}
        found = found or {test for tests in of_file.values() for test in tests}
        names = list(self.seconds)
        return [names[test] for test in sorted(found)]


def measure(session: pytest.Session, files: list[Path]) -> Lines:
    """Run all collected tests, and return which of them run each line of the files."""
    measured = Coverage(data_file=None, config_file=False, include=[str(file) for file in files])
    seconds: dict[str, float] = {}
    measured.start()
    for item, following in zip(session.items, [*session.items[1:], None], strict=True):
        began, failed = time.process_time(), session.testsfailed
        measured.switch_context(item.nodeid)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed == failed:
            seconds[item.nodeid] = time.process_time() - began
    measured.stop()
    number = {test: at for at, test in enumerate(seconds)}
    found = measured.get_data()
    return Lines(
        seconds,
        {
            file: {
                line: [number[test] for test in tests if test in number]
                for line, tests in found.contexts_by_lineno(file).items()
            }
            for file in found.measured_files()
        },
    )

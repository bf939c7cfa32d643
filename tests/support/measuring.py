"""Coverage is measured where a test is meant to reach lines, and not where it only costs time.

A tracer makes Python up to five times slower, in the test's own process and in every program that it starts. A load
runs the same lines again and again; the lines that it reaches are reached by the other tests, too.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from dataclasses import dataclass, field
from typing import Any

from coverage import Coverage

_SETTING = threading.Lock()


class _OneAtATime:
    """`sys` for the module `threading`, whose threads set their tracer one after the other.

    CPython 3.11 gives up a tracer that is set while another thread sets one (`sys.settrace`), and the thread ends before it
    begins.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)

    @staticmethod
    def settrace(tracer: Any) -> None:
        with _SETTING:
            for _ in range(_ATTEMPTS):
                try:
                    sys.settrace(tracer)
                except RuntimeError:
                    # The thread that measures again, or stops to, does not wait for us.
                    continue
                return


_ATTEMPTS = 100
threading._sys = _OneAtATime()  # type: ignore[attr-defined]  # there is no other place between a thread and its tracer

# What tells coverage.py in a started program to measure (`patch = subprocess` in setup.cfg).
_VARIABLES = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")


@dataclass(slots=True)
class Measuring:
    """Whether coverage.py measures this process and the programs that it starts; it does nothing where it was not started.

    Attributes:
        paused: What measures again after `resume`; None while it measures, and where nothing was measured.
    """

    paused: Coverage | None = None
    _taken: dict[str, str] = field(default_factory=dict)

    def pause(self) -> None:
        """Let this process, and the programs that it starts from now on, run without a tracer."""
        measured = Coverage.current()
        if self.paused is not None or measured is None:
            return
        self.paused = measured
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            measured.stop()
        self._taken = {name: value for name in _VARIABLES if (value := os.environ.pop(name, None)) is not None}

    def resume(self) -> None:
        """Measure again, after `pause`."""
        measured, self.paused = self.paused, None
        if measured is None:
            return
        os.environ.update(self._taken)
        with warnings.catch_warnings():
            # It warns of what was imported before; it measured then, too.
            warnings.simplefilter("ignore")
            measured.start()

    def save(self) -> None:
        """End the measuring and write what was measured."""
        measured = self.paused or Coverage.current()
        if measured is None:
            return
        with warnings.catch_warnings():
            # It also warns of what this process has not imported.
            warnings.simplefilter("ignore")
            measured.stop()
            measured.save()

"""Changes a module in one place at a time and counts the changes that the tests without peers notice.

    .venv/bin/python tests/support/mutation.py [--sample 40] [MODULE[:LINE] …] [--tests FILE …]

The tests run once with coverage, which says what tests run a line. Then every mutant of the modules is put in place in a
forked process that has collected the tests, and those of its lines run: first those that noticed other mutants, and no longer
than 30 s of them. A mutant that no test notices is printed with its place; tests/mutation-survivors.md says why it may live.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import pickle
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Final

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.lines import Lines, measure
from support.mutants import mutants_of
from support.placing import put_in_place

ROOT: Final = Path(__file__).parents[2]
FAST: Final = ("tests/unit", "tests/compat", "tests/security/in_process")
MEASURED: Final = (
    "scopes.py",
    "authn/chain.py",
    "http/*.py",
    "credentials.py",
    "gateway/*.py",
    "gateway/forward_auth/*.py",
    "tokens/*.py",
    "tokens/jose/*.py",
)
# Of all the tests that run a line, so many seconds; of one test, when it does not come to its end.
LONGEST_S: Final = 30.0
LONGEST_TEST_S: Final = 10
_UNCHANGED: Final = 77
_NOTICED: Final = 1
_OUT: Final = os.dup(1)


def _say(line: str) -> None:
    os.write(_OUT, f"{line}\n".encode())


class Mutation:
    """A plugin of pytest that runs the collected tests for every mutant, each time in a forked process."""

    def __init__(self, modules: list[str], *, sample: int) -> None:
        self.modules = modules
        self.sample = sample
        self.tried = self.noticed = 0
        self.is_forked = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        """End the forked process at the first failure: to describe it takes longer than to find it."""
        if self.is_forked and call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
            os._exit(_NOTICED)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run them without a change, and then with each of the mutants."""
        gc.collect()
        gc.freeze()
        self.items = {item.nodeid: item for item in session.items}
        self.lines = self._measured(session)
        for test in self.items.keys() - self.lines.seconds.keys():
            _say(f"fails without a change: {test}")
        for name in self.modules:
            self._check(session, *name.partition(":")[::2])
        return True

    def _measured(self, session: pytest.Session) -> Lines:
        files = [Path(str(importlib.import_module(name.partition(":")[0]).__file__)) for name in self.modules]
        told, tell = os.pipe()
        if os.fork() == 0:
            _quiet()
            with os.fdopen(tell, "wb") as pipe:
                pickle.dump(measure(session, files), pipe)
            os._exit(0)
        os.close(tell)
        with os.fdopen(told, "rb") as pipe:
            lines: Lines = pickle.load(pipe)  # noqa: S301  # our own process
        os.wait()
        return lines

    def _check(self, session: pytest.Session, name: str, line: str) -> None:
        module = importlib.import_module(name)
        path = Path(str(module.__file__))
        mutants = [
            one for one in mutants_of(path.read_text(encoding="utf-8"), str(path)) if line in ("", str(one.line))
        ]
        if self.sample and self.sample < len(mutants):
            mutants = random.Random(name).sample(mutants, self.sample)  # noqa: S311
        killers: Counter[str] = Counter()
        tried = noticed = elsewhere = 0
        for mutant in sorted(mutants, key=lambda one: one.line):
            is_in_function = mutant.value is None and mutant.defaults is None
            chosen = self.lines.of(path, mutant.lines if is_in_function else ())
            tests = self._in_order(chosen, name, killers)
            killer = self._run(session, tests, lambda mutant=mutant: put_in_place(module, mutant))  # type: ignore[misc]
            if killer == "-":
                elsewhere += 1
                _say(f"{name}:{mutant.line}: not put in place: {mutant.kind}")
                continue
            tried += 1
            if killer is None:
                _say(f"{name}:{mutant.line}: {mutant.kind}  ({len(tests)} of {len(chosen)} tests)")
            else:
                noticed += 1
                killers[killer] += 1
        self.tried += tried
        self.noticed += noticed
        _say(f"{name}: {noticed} of {tried} noticed, {elsewhere} not tried")

    def _in_order(self, tests: list[str], name: str, killers: Counter[str]) -> list[str]:
        """Return tests, those first that are likely to notice and fast, and no more than there is time for."""
        room, stem = name.split(".")[-2:]

        def rank(test: str) -> tuple[int, int, float]:
            file = Path(test.partition("::")[0])
            near = 0 if file.stem == f"test_{stem}" else 1 if file.parent.name == room else 2
            return -killers[test], near, self.lines.seconds[test]

        spent = accumulate(self.lines.seconds[test] for test in sorted(tests, key=rank))
        return [test for test, until in zip(sorted(tests, key=rank), spent, strict=True) if until < LONGEST_S]

    def _run(self, session: pytest.Session, tests: list[str], change: Callable[[], bool]) -> str | None:
        """Return the test that fails, "" where the change broke more than a test, "-" where it cannot be made."""
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(told)
            os._exit(self._run_here(session, tests, change, tell))
        os.close(tell)
        with os.fdopen(told, encoding="utf-8") as lines:
            last = lines.read().splitlines()[-1:]
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            return None
        return "-" if code == _UNCHANGED else (last or [""])[0]

    def _run_here(self, session: pytest.Session, tests: list[str], change: Callable[[], bool], tell: int) -> int:
        self.is_forked = True
        _quiet()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        try:
            if not change():
                return _UNCHANGED
            for index, test in enumerate(tests):
                os.write(tell, f"{test}\n".encode())
                signal.alarm(LONGEST_TEST_S + int(10 * self.lines.seconds[test]))
                item = self.items[test]
                following = self.items[tests[index + 1]] if index + 1 < len(tests) else None
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    return _NOTICED
        except BaseException:  # noqa: BLE001  # whatever it is, it was noticed
            return _NOTICED
        return 0


def _quiet() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def modules() -> list[str]:
    """Return the names of the modules that are measured."""
    found = (path for pattern in MEASURED for path in sorted(ROOT.glob(f"compat_auth/{pattern}")))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in found if path.name != "__init__.py"]


def main() -> int:
    """Check the modules that are named, or all, and return 0 when 95 of 100 mutants were noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=0, help="how many mutants of each module at most; 0 for all")
    parser.add_argument("--tests", nargs="+", default=FAST, help="files and folders to run; without it, all fast tests")
    parser.add_argument("modules", nargs="*", default=modules())
    given = parser.parse_args()
    os.chdir(ROOT)
    plugin = Mutation(given.modules, sample=given.sample)
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:schemathesis", "--capture=no"]
    pytest.main([*options, *given.tests], plugins=[plugin])
    _say(f"{plugin.noticed} of {plugin.tried}: {plugin.noticed / max(plugin.tried, 1):.1%}")
    return 0 if plugin.noticed >= 0.95 * plugin.tried else 1


if __name__ == "__main__":
    raise SystemExit(main())

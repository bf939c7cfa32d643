"""Progress is one line of a terminal, not too often, and gone at the end."""

from __future__ import annotations

import contextlib
import sys

import pytest

from compat_auth.cli.terminal.progress import progress, progress_line


@pytest.mark.parametrize(
    ("done", "of", "line"),
    [
        (0, 4, "x: [........................] 0/4 0 %"),
        (2, 4, "x: [############............] 2/4 50 %"),
        (9, 4, "x: [########################] 4/4 100 %"),
        (3, 0, "x: 3"),
    ],
)
def test_the_line_shows_how_much_is_done(done: int, of: int, line: str) -> None:
    assert progress_line("x", done, of) == line


def test_without_a_terminal_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("x") as step:
        step(1, 2)

    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_one_line_ten_times_a_second_at_most(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    times = iter([0.0, 0.05, 0.2])

    with progress("x", monotonic=lambda: next(times)) as step:
        for done in (1, 2, 3):
            step(done, 3)

    shown = capsys.readouterr().err
    assert ("1/3" in shown, "2/3" in shown, "3/3" in shown) == (True, False, True)
    assert shown.endswith("\r\x1b[K")
    assert "\n" not in shown


def test_the_line_is_removed_after_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    with contextlib.suppress(ValueError), progress("x") as step:
        step(1, 3)
        raise ValueError

    assert capsys.readouterr().err.endswith("\r\x1b[K")

"""Tables have a header and straight columns in a terminal; other readers get plain lines."""

from __future__ import annotations

import sys

import pytest

from compat_auth.cli.terminal.table import print_table, table_lines


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    lines = table_lines(("NAME", "STATE"), [("alice", "on"), ("bo", "disabled")])

    assert lines == ["NAME   STATE", "alice  on", "bo     disabled"]


def test_wide_and_combining_characters_count_as_they_are_shown() -> None:
    lines = table_lines(("N", "S"), [("\u5f20\u4e09", "on"), ("e\u0301", "on")])

    assert lines == ["N     S", "\u5f20\u4e09  on", "e\u0301     on"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a\nb", r"a\nb"), ("\x1b[2J", r"\x1b[2J"), ("a\u202eb", r"a\u202eb"), ("a\u2028b", r"a\u2028b"), ("a b", "a b")],
    ids=["line", "escape", "direction", "separator", "space"],
)
def test_a_name_cannot_move_the_cursor_or_begin_a_line(name: str, shown: str) -> None:
    assert table_lines(("N",), [(name,)])[1] == shown


def test_a_pipe_gets_plain_lines_without_a_header(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "STATE"), [("{alice}", "on")], plain="{0}\t{1}")

    assert capsys.readouterr().out == "{alice}\ton\n"


def test_a_name_cannot_begin_a_line_or_a_cell_of_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "STATE"), [("a\nroot\ton\x1b[2J", "off")], plain="{0}\t{1}")

    assert capsys.readouterr().out == "a\\nroot\\ton\\x1b[2J\toff\n"


def test_a_terminal_gets_a_header(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    print_table(("NAME", "STATE"), [("alice", "on")], plain="{0}\t{1}")

    header, row = capsys.readouterr().out.splitlines()
    assert "NAME   STATE" in header
    assert row == "alice  on"

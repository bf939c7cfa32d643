"""The manual page has every command and option, and shows no text as an instruction of roff."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from compat_auth.cli import commands
from compat_auth.cli.manual.man import EXIT_STATUS
from compat_auth.cli.manual.man_page import man_page

ROOT = Path(__file__).parents[4]


def page_of(help_text: str) -> str:
    return man_page(click.Command("x", help=help_text), name="x", version="1", status=())


def test_the_page_has_every_command_with_its_options() -> None:
    page = CliRunner().invoke(commands, ["man"]).output

    assert '.SS "keys rotate"' in page
    assert r"\fB\-\-overlap INTEGER RANGE\fR" in page
    assert page.count(".SS ") > 40


@pytest.mark.parametrize("line", [".so /etc/passwd", "'so /etc/passwd", ".sy id"], ids=["so", "quote", "sy"])
def test_a_line_that_would_be_an_instruction_of_roff_is_shown_as_text(line: str) -> None:
    page = page_of(f"First.\n\n{line}")

    assert rf"\&{line}" in page.splitlines()


def test_a_backslash_is_shown_as_it_is() -> None:
    page = page_of(r"Writes \fB and \n.")

    assert r"\(rsfB" in page
    assert r"Writes \fB" not in page


def test_a_hyphen_is_one_that_can_be_copied() -> None:
    assert r"\-\-bind" in page_of("Use --bind.")


def test_each_example_is_a_line_of_its_own() -> None:
    page = page_of("First.\n\nExample: one\nExample: two")

    assert "Example: one\n.br\nExample: two" in page


def test_the_exit_statuses_are_those_of_the_reference() -> None:
    table = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")

    documented = re.findall(r"^\| (\d+) \| (.+) \|$", table, re.MULTILINE)

    assert [(number, meaning.replace("`", "")) for number, meaning in documented] == list(EXIT_STATUS)

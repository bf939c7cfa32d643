"""A table with a header for a terminal; plain lines for everything else."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Sequence

import click


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, plain: str) -> None:
    """Print rows: under a header in a terminal, else one line each without a header.

    Args:
        headers: One for each column.
        rows: As many cells as headers.
        plain: The line of a row where the output is not a terminal, with {0} for the first cell. Programs read these
            lines, so their shape does not change.
    """
    if sys.stdout.isatty():
        for number, line in enumerate(table_lines(headers, rows)):
            click.echo(line if number else click.style(line, bold=True))
        return
    for row in rows:
        click.echo(plain.format(*map(_harmless, row)))


def table_lines(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table, the header first, with columns as wide as their widest cell."""
    lines = [tuple(headers), *(tuple(_harmless(cell) for cell in row) for row in rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(headers))]
    return [
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _harmless(text: str) -> str:
    """Return a cell without control characters: a name must not move the cursor or begin a line."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character)[0] in "CZ" and character != " "
        else character
        for character in text
    )


def _width(text: str) -> int:
    """Return how many columns a text takes (Unicode Standard Annex 11)."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )

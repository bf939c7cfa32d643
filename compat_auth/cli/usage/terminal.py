"""The report in the terminal: tables with a header, and a line of blocks for the days. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from compat_auth.usage.report import MAX_EXPORTED, MAX_ROWS, Report, day_text
from compat_auth.usage.texts import backend_text, forecast_text, one_line, time_text, user_text

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 30
_MOST = 20


def as_lines(report: Report, *, is_on: bool = True) -> Iterator[str]:
    """Yield the lines of the report.

    Args:
        report: The report.
        is_on: Whether usage is recorded at all.
    """
    if report.recorded_since is None:
        yield "No usage is recorded yet." if is_on else "Usage is not recorded: [usage] enabled is false."
        if is_on:
            yield "A gateway with a store records it; compat-auth db upgrade makes the store."
        return
    yield (
        f"Usage from {day_text(report.first_day)} to {day_text(report.today)} (UTC), recorded since "
        f"{day_text(report.recorded_since)}"
    )
    yield ""
    if not report.backends:
        yield "No usage for this choice."
        return
    yield "Backends"
    yield from _table(
        ("backend", "requests", "errors", "by day", "a day at first", "a day now", "last day"),
        [
            (
                backend_text(one.name),
                str(one.count),
                str(one.errors),
                sparkline(one.by_day),
                f"{one.first_week:g}",
                f"{one.last_week:g}",
                forecast_text(one.forecast),
            )
            for one in report.backends
        ],
    )
    for title, rows in (
        ("Users and their scripts", report.scripts),
        ("Clients", report.clients),
        ("Operations of the old API (/api/v1)", report.old_operations),
    ):
        yield ""
        yield title
        yield from rows_of(rows)
    for name, rows in report.affected.items():
        yield ""
        yield f"If {one_line(name)} were switched off, these would fail"
        yield from rows_of(rows)
    if report.truncated:
        yield ""
        yield f"Some tables have more than {MAX_ROWS} rows; --csv has up to {MAX_EXPORTED}."


def rows_of(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a table of sums, at most 20 rows."""
    if not rows:
        yield "  none"
        return
    names = [name for name in rows[0] if name not in ("count", "errors", "first_seen", "last_seen")]
    shown = [
        (*(cell(name, row[name]) for name in names), str(row["count"]), str(row["errors"]), time_text(row["last_seen"]))
        for row in rows[:_MOST]
    ]
    yield from _table((*names, "requests", "errors", "last seen"), shown)
    if len(rows) > _MOST:
        yield f"  … and {len(rows) - _MOST} more"


def cell(name: str, value: object) -> str:
    """Return the value of a column in one line."""
    text = str(value)
    if name == "principal":
        return user_text(text)
    return backend_text(text) if name == "backend" else one_line(text)


def sparkline(counts: Sequence[int], width: int = _WIDTH) -> str:
    """Return counts as a line of blocks, at most so many; several days share one where there are more."""
    if not counts:
        return ""
    size = -(-len(counts) // width)
    # From the end: the last block is whole.
    sums = [sum(counts[max(0, end - size) : end]) for end in range(len(counts), 0, -size)][::-1]
    most = max(sums)
    if not most:
        return "·" * len(sums)
    return "".join("·" if not one else _BLOCKS[min(7, one * 8 // (most + 1))] for one in sums)


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if not rows:
        yield "  none"
        return
    widths = [max(len(row[place]) for row in (header, *rows)) for place in range(len(header))]
    numbers = {place for place in range(len(header)) if all(row[place].isdigit() for row in rows)}
    for row in (header, tuple("-" * width for width in widths), *rows):
        cells = (
            text.rjust(width) if place in numbers else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield ("  " + "  ".join(cells)).rstrip()

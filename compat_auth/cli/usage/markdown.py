"""The report as Markdown, for an e-mail to an owner. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compat_auth.cli.usage.terminal import cell
from compat_auth.usage.report import MAX_ROWS, Report, day_text
from compat_auth.usage.texts import backend_text, forecast_text, markdown_cell, time_text


def as_markdown(report: Report) -> str:
    """Return the report; ends with a line end."""
    who = f" of {markdown_cell(report.filters.user)}" if report.filters.user else ""
    lines = [f"# Logins and API calls{who}", ""]
    lines += [f"From {day_text(report.first_day)} to {day_text(report.today)} (UTC).", ""]
    if report.recorded_since is None:
        return "\n".join([*lines, "No usage is recorded.", ""])
    if not report.backends:
        return "\n".join([*lines, "No usage for this choice.", ""])
    backends = [
        (
            markdown_cell(backend_text(one.name)),
            str(one.count),
            f"{one.first_week:g}",
            f"{one.last_week:g}",
            forecast_text(one.forecast),
        )
        for one in report.backends
    ]
    lines += ["## Backends", "", *_table(("Backend", "Requests", "A day at first", "A day now", "Last day"), backends)]
    for title, rows in (
        ("Scripts", report.scripts),
        ("Operations of the old API", report.old_operations),
        *((f"Would fail without {markdown_cell(name)}", rows) for name, rows in report.affected.items()),
    ):
        lines += ["", f"## {title}", "", *_rows(rows)]
    if report.truncated:
        lines += ["", f"Some tables have more than {MAX_ROWS} rows."]
    return "\n".join([*lines, ""])


def _rows(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["None."]
    names = [name for name in rows[0] if name not in ("count", "errors", "first_seen", "last_seen")]
    header = (*(name.capitalize() for name in names), "Requests", "Errors", "Last seen")
    return _table(
        header,
        [
            (
                *(markdown_cell(cell(name, row[name])) for name in names),
                str(row["count"]),
                str(row["errors"]),
                time_text(row["last_seen"]),
            )
            for row in rows
        ],
    )


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return ["None."]
    return [f"| {' | '.join(row)} |" for row in (header, ("---",) * len(header), *rows)]

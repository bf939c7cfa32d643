"""The report as text: CSV, JSON, and cells that no program and no terminal takes for anything else. No I/O."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from compat_auth.usage.forecast import Forecast
from compat_auth.usage.report import EXPORTED, Report, day_text

NOBODY: Final = "(unknown)"
"""In place of the user whom no backend knows."""
_NO_BACKEND: Final = "(none)"
_SUMS: Final = ("count", "errors", "first_seen", "last_seen")
# A spreadsheet runs a cell that begins so; for some, a cell also begins after one of the separators, quotes or not.
_FORMULA: Final = re.compile("(^|[;,|])(?=[ \"']*[-=+@\uff0d\uff1d\uff0b\uff20])")
_MARKDOWN: Final = str.maketrans({char: f"\\{char}" for char in "\\`*_{}[]<>()#+!|~&"})


def user_text(name: str) -> str:
    """Return the name of a user in one line; NOBODY for the unknown one."""
    return one_line(name) or NOBODY


def backend_text(name: str) -> str:
    """Return the name of a backend in one line."""
    return one_line(name) or _NO_BACKEND


def one_line(text: str) -> str:
    """Return a text whose control characters, line ends and marks of direction are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def markdown_cell(text: str) -> str:
    """Return a text as the cell of a table in Markdown: no markup, no link, no HTML."""
    return one_line(text).translate(_MARKDOWN)


def time_text(seconds: int) -> str:
    """Return a time as `2026-11-30 19:31`, UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def forecast_text(found: Forecast) -> str:
    """Return a forecast in words."""
    match found.kind:
        case "ends":
            return f"about {day_text(found.day or 0)}"
        case "over":
            return f"over, last used {day_text(found.day)}" if found.day is not None else "over"
        case "too little data":
            return "too little data: needs 14 days"
        case "no end":
            return "no end in sight"
        case "unclear":
            return "unclear: the days differ too much"


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV (RFC 4180); what a spreadsheet would run has an apostrophe before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerow((*EXPORTED, *_SUMS))
    for row in rows:
        names = (_csv_cell(row[name]) for name in EXPORTED)
        writer.writerow(
            (*names, row["count"], row["errors"], time_text(row["first_seen"]), time_text(row["last_seen"]))
        )
    return out.getvalue()


def _csv_cell(text: str) -> str:
    return _FORMULA.sub(r"\1'", one_line(text))


def as_content(report: Report) -> dict[str, Any]:
    """Return the report as JSON has it: days as texts, times as seconds since the epoch."""
    return {
        "filters": asdict(report.filters),
        "first_day": day_text(report.first_day),
        "last_day": day_text(report.today),
        "recorded_since": None if report.recorded_since is None else day_text(report.recorded_since),
        "backends": [
            {
                "backend": one.name,
                "count": one.count,
                "errors": one.errors,
                "last_seen": one.last_seen,
                "by_day": list(one.by_day),
                "first_week": one.first_week,
                "last_week": one.last_week,
                "forecast": {
                    "kind": one.forecast.kind,
                    "day": None if one.forecast.day is None else day_text(one.forecast.day),
                },
            }
            for one in report.backends
        ],
        "scripts": list(report.scripts),
        "clients": list(report.clients),
        "operations": list(report.operations),
        "old_operations": list(report.old_operations),
        "affected_if_off": {name: list(rows) for name, rows in report.affected.items()},
        "truncated": list(report.truncated),
    }


def as_json(report: Report) -> str:
    """Return the report as JSON, in ASCII: a terminal may show it."""
    return json.dumps(as_content(report), indent=2)

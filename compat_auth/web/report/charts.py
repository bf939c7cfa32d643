"""Charts of the report: what an SVG needs to draw them, in units of its view box. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from compat_auth.usage.report import BackendUse, Report, day_text
from compat_auth.usage.texts import backend_text

WIDTH: Final = 600
HEIGHT: Final = 120
_MOST_BARS: Final = 120
_MOST_CLIENTS: Final = 12


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        x: Its left edge.
        y: Its upper edge.
        width: Its width.
        height: Its height.
        label: What it stands for, in words.
    """

    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart.

    Attributes:
        key: Its id in the page.
        title: Its title.
        description: What it shows, for a reader who does not see it.
        bars: Its bars.
        most: The largest value.
    """

    key: str
    title: str
    description: str
    bars: tuple[Bar, ...]
    most: int


def backend_charts(report: Report) -> tuple[Chart, ...]:
    """Return one chart for each backend, with a bar for each day, or for several days where there are many."""
    return tuple(_chart(report, number, one) for number, one in enumerate(report.backends))


def _chart(report: Report, number: int, use: BackendUse) -> Chart:
    size = -(-len(use.by_day) // _MOST_BARS)
    sums = [(start, sum(use.by_day[start : start + size])) for start in range(0, len(use.by_day), size)]
    most = max((count for _, count in sums), default=0)
    step = WIDTH / max(1, len(sums))
    bars = tuple(
        Bar(
            round(place * step, 2),
            round(HEIGHT - _height(count, most), 2),
            round(step * 0.8, 2),
            _height(count, most),
            f"{_days(report.first_day + start, size)}: {count}",
        )
        for place, (start, count) in enumerate(sums)
        if count
    )
    name = backend_text(use.name)
    unit = "a day" if size == 1 else f"in {size} days"
    description = (
        f"{use.count} requests from {day_text(report.first_day)} to {day_text(report.today)}, at most {most} {unit}; "
        f"{use.first_week:g} a day in the first week, {use.last_week:g} a day in the last week."
    )
    return Chart(f"backend-{number}", name, description, bars, most)


def _height(count: int, most: int) -> float:
    # One request among a million is seen, too.
    return round(max(1.0, HEIGHT * count / most), 2) if most and count else 0.0


def _days(first: int, size: int) -> str:
    return day_text(first) if size == 1 else f"{day_text(first)} to {day_text(first + size - 1)}"


def client_chart(rows: Sequence[dict[str, Any]]) -> Chart:
    """Return the chart of the most used clients: a horizontal bar for each."""
    shown = rows[:_MOST_CLIENTS]
    most = max((row["count"] for row in shown), default=0)
    bars = tuple(
        Bar(0, place * 24, round(max(1.0, WIDTH * row["count"] / most), 2), 18, f"{row['client']}: {row['count']}")
        for place, row in enumerate(shown)
    )
    description = "; ".join(bar.label for bar in bars) or "No requests."
    return Chart("clients", "Clients", description, bars, most)

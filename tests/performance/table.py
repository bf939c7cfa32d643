"""One row for each target, and the Markdown table of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from performance.load import Sample


@dataclass(frozen=True, slots=True)
class Row:
    """A measured target.

    Attributes:
        id: As in the list of targets, such as "P1".
        what: What was compared.
        target: In words.
        rounds: The measured value of each round.
        unit: Of the values; "" for a ratio.
        met: Whether the median keeps the target; None for a row that has none.
        detail: The absolute numbers behind the median.
        wrong: Answers that were not what they should be; must be 0.
    """

    id: str
    what: str
    target: str
    rounds: tuple[float, ...]
    unit: str
    met: bool | None
    detail: str
    wrong: int

    @property
    def measured(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)


def at_most(
    row_id: str, what: str, limit: float, rounds: Sequence[float], detail: str, wrong: int, unit: str = ""
) -> Row:
    """Return a row that is met when the median is not above the limit."""
    met = median(rounds) <= limit
    return Row(row_id, what, f"<= {limit:g}{_spaced(unit)}", tuple(rounds), unit, met, detail, wrong)


def at_least(
    row_id: str, what: str, limit: float, rounds: Sequence[float], detail: str, wrong: int, unit: str = ""
) -> Row:
    """Return a row that is met when the median is not below the limit."""
    met = median(rounds) >= limit
    return Row(row_id, what, f">= {limit:g}{_spaced(unit)}", tuple(rounds), unit, met, detail, wrong)


def markdown(rows: Sequence[Row]) -> str:
    """Return the table."""
    lines = ["| # | what | target | measured | rounds | met | behind it |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        spread = f"{_number(min(row.rounds))} to {_number(max(row.rounds))} ({len(row.rounds)})"
        met = "" if row.met is None else ("yes" if row.met else "**no**")
        wrong = f"; **{row.wrong} wrong answers**" if row.wrong else ""
        measured = _number(row.measured) + _spaced(row.unit)
        lines.append(f"| {row.id} | {row.what} | {row.target} | {measured} | {spread} | {met} | {row.detail}{wrong} |")
    return "\n".join(lines) + "\n"


def cpu(samples: Sequence[Sample]) -> str:
    """Return the median CPU a request."""
    return f"{median(sample.cpu_us for sample in samples):.0f} us"


def rate(samples: Sequence[Sample]) -> str:
    """Return the median throughput."""
    return f"{median(sample.per_s for sample in samples):.0f}/s"


def ratios(numerators: Sequence[Sample], denominators: Sequence[Sample], what: str) -> list[float]:
    """Return the ratio of an attribute of the samples, round by round."""
    return [
        getattr(numerator, what) / max(getattr(denominator, what), 1e-9)
        for numerator, denominator in zip(numerators, denominators, strict=True)
    ]


def wrong_in(*samples: Sequence[Sample]) -> int:
    """Return how many answers were wrong, counting a window without any answer as one."""
    return sum(sample.wrong + (not sample.requests) for several in samples for sample in several)


def _spaced(unit: str) -> str:
    return f" {unit}" if unit else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

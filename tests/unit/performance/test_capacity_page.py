from pathlib import Path

from performance.capacity.inputs import ASSUMPTIONS, read_measured
from performance.capacity.page import page

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "capacity.md"


def test_the_page_is_what_the_command_makes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(read_measured()), (
        "run: python tests/performance/capacity/run.py --output docs/explanation/capacity.md"
    )


def test_the_page_names_every_assumption_with_its_source() -> None:
    text = page(read_measured())

    assert all(f"| {one.what} |" in text and one.source in text for one in ASSUMPTIONS.values())


def test_a_second_and_a_third_replica_add_what_the_simulation_says() -> None:
    # Measured values are what they were on that day; they are kept, so this does not depend on today's load.
    waiting = next(iter(read_measured()["compared"].values()))

    for row in waiting:
        measured, simulated = row["measured"], row["simulated"]
        assert abs(measured["per_s"] / simulated["per_s"] - 1) < 0.25
        assert abs(measured["refused_share"] - simulated["refused_share"]) < 0.15

"""What `tests/support/peers/matrix` saw: one line for each Airflow and auth manager, passed and asked at each place."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

PLACES = ("exchange", "shared_secret", "key_pair", "plugin")


def rows(report: Path) -> list[str]:
    """Return the lines of one Airflow's report, in JUnit's XML."""
    asked: Counter[tuple[str, str]] = Counter()
    passed: Counter[tuple[str, str]] = Counter()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  # pytest has just written it
        parts = case.get("name", "").partition("[")[2].rstrip("]").split("-")
        manager = next((part for part in parts if part in ("fab", "simple")), "")
        place = next((part for part in parts if part in PLACES), "")
        asked[manager, place] += 1
        passed[manager, place] += not any(case.find(tag) is not None for tag in ("failure", "error"))
    return [
        "| {} | {} | {} |".format(
            report.stem,
            manager,
            " | ".join(f"{passed[manager, at]}/{asked[manager, at]}" if asked[manager, at] else "-" for at in PLACES),
        )
        for manager in ("fab", "simple")
    ]


if __name__ == "__main__":
    print(f"| Airflow | manager | {' | '.join(PLACES)} |\n|---|---|---|---|---|---|")  # noqa: T201  # for a person
    for path in sys.argv[1:]:
        print("\n".join(rows(Path(path))))  # noqa: T201  # for a person

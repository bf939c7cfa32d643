"""Measures the targets against their peers and prints one Markdown table. Never fails on time.

python tests/performance/run.py [--quick] [--only P1,P4] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from performance import (  # found by the line above, wherever this is started
    inside,
    many_backends,
    memory,
    other_credentials,
    strain,
    tickets,
    token_growth,
    warm,
)
from performance.programs import Missing  # the same
from performance.table import Row, markdown  # the same

GROUPS: tuple[tuple[frozenset[str], Callable[..., list[Row]]], ...] = (
    (frozenset(("P1", "P2")), warm.forward_auth),
    (frozenset(("P3",)), warm.fab_check),
    (frozenset(("P4", "P5", "P6", "P10")), warm.full_proxy),
    (frozenset(("P9",)), tickets.fresh_tickets),
    (frozenset(("P11",)), strain.expiring),
    (frozenset(("P12",)), strain.flooded),
    (frozenset(("P13",)), token_growth.growth),
    (frozenset(("P14",)), many_backends.long_chain),
    (frozenset(("P15",)), inside.airflow),
    (frozenset(("P16",)), memory.streams),
    (frozenset(("P17",)), memory.workers),
    (frozenset(("P18",)), memory.start),
    (frozenset(("N1", "N2")), other_credentials.beside_a_password),
    (frozenset(("N5",)), other_credentials.revocation),
)
ALL = sorted(
    {target for targets, _ in GROUPS for target in targets}, key=lambda target: (target[0] == "N", int(target[1:]))
)


def measure(only: Sequence[str], *, seconds: float, rounds: int) -> list[Row]:
    """Return the rows of the wanted targets; peers start for their own group only."""
    rows: list[Row] = []
    for targets, group in GROUPS:
        if targets.isdisjoint(only):
            continue
        with tempfile.TemporaryDirectory(prefix="compat-auth-performance-") as folder:
            found = group(Path(folder), seconds=seconds, rounds=rounds)
        rows.extend(row for row in found if row.id.rstrip("abc") in only)
    return rows


def main() -> int:
    """Measure, print, and return 0 when every answer was right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it works, not how fast it is")
    parser.add_argument("--only", default=",".join(ALL), help="targets, joined by commas")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; the median counts")
    parser.add_argument("--seconds", type=float, default=3, help="length of a window, whole seconds")
    parser.add_argument("--output", type=Path, help="also write the table there")
    parser.add_argument("--json", type=Path, help="also write the rows there")
    given = parser.parse_args()
    only = given.only.split(",")
    if unknown := set(only).difference(ALL):
        parser.error(f"{', '.join(sorted(unknown))}: not among {', '.join(ALL)}")
    seconds, rounds = (1.0, 1) if given.quick else (given.seconds, given.rounds)
    try:
        rows = measure(only, seconds=seconds, rounds=rounds)
    except Missing as error:
        sys.stderr.write(f"{error}\n")
        return 69
    table = markdown(rows)
    sys.stdout.write(table)
    if given.output:
        given.output.write_text(table)
    if given.json:
        given.json.write_text(json.dumps([{**asdict(row), "measured": row.measured} for row in rows]))
    return 1 if any(row.wrong for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Computes what a large site needs and writes the page about it; measures first with --measure.

python tests/performance/capacity/run.py [--measure] [--output docs/explanation/capacity.md]
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[2]))

from performance.capacity import operations, sizes  # found by the line above, wherever this is started
from performance.capacity.inputs import MEASURED, read_measured  # the same
from performance.capacity.page import page  # the same
from performance.capacity.replicas import THREADS, WAIT_S, WAITING, measure_busy, measure_waiting  # the same
from performance.capacity.rig import running_rig  # the same

LOADS: Final = (0.8, 1.6, 2.4)


def measure(*, seconds: float, rounds: int, seed: int) -> dict[str, Any]:
    """Return all measured inputs; takes some minutes."""
    began = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="compat-auth-capacity-") as name, running_rig(Path(name)) as rig:
        idle = operations.measure_idle(rig)
        cold = {"password": operations.measure_passwords(rig), **operations.measure_cold(rig)}
        warm = operations.measure_warm(rig)
        command_us, message_us = operations.measure_redis_us(rig)
        worker_mib = round(rig.gate.pss_mib(), 1)
        rows = sizes.measure_rows(rig)
        use_row_us = sizes.measure_use_row_us(rig)
    with tempfile.TemporaryDirectory(prefix="compat-auth-capacity-") as name:
        waiting = measure_waiting(Path(name), loads=LOADS, seconds=seconds, seed=seed)
    with tempfile.TemporaryDirectory(prefix="compat-auth-capacity-") as name:
        busy = measure_busy(Path(name), seconds=2, rounds=rounds, seed=seed)
    loads = sorted((began, os.getloadavg()[0]))
    about = (
        f"Measured on {dt.datetime.now(dt.UTC):%Y-%m-%d} with {os.cpu_count()} cores and Python {platform.python_version()}, "
        f"seed {seed}. Other programs caused a load of {loads[0]:.0f} to {loads[1]:.0f} on them, so CPU and latencies are "
        "higher than on a quiet machine: the needs above are on the safe side. Counts do not depend on the load."
    )
    return {
        "about": about,
        "idle": asdict(idle),
        "cold": operations.as_json(cold),
        "warm": operations.as_json(warm),
        "redis_command_us": command_us,
        "redis_message_us": message_us,
        "use_row_us": use_row_us,
        "worker_mib": worker_mib,
        "bytes": {**rows, "remembered credential": sizes.measure_remembered()},
        "compared": {
            f"**Threads are the limit.** Each replica has {THREADS} threads, each request waits {WAIT_S * 1000:.0f} ms on one, {WAITING} "
            "may wait, and requests arrive at random. The simulation has the wait and the time around it that one client "
            "sees alone.": [asdict(one) for one in waiting],
            "**Cores are the limit.** The replicas share the cores with nginx, the upstream, the client, and "
            "other people's programs. How many of those the simulation has is chosen so that one replica "
            "fits. On a busy machine it does not predict the rest: a further replica also gets a further "
            "share of the contested cores, so the measured throughput grows more than the simulated one.": [
                asdict(one) for one in busy
            ],
        },
    }


def main() -> int:
    """Compute, print, and return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure again, and keep what was measured")
    parser.add_argument("--seconds", type=float, default=8, help="length of a window of arrivals")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds where cores are the limit")
    parser.add_argument("--seed", type=int, default=1, help="of arrivals and simulation")
    parser.add_argument("--output", type=Path, help="also write the page there")
    given = parser.parse_args()
    if given.measure:
        found = measure(seconds=given.seconds, rounds=given.rounds, seed=given.seed)
        MEASURED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    text = page(read_measured())
    sys.stdout.write(text)
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

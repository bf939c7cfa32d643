"""Runs a soak and writes its report; exits 1 when a rule was broken.

python tests/soak/run.py [--seconds 3600] [--seed 1] [--rate 120] [--output report.md]
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from soak import account as rules  # found by the line above, wherever this is started
from soak.account import Account  # the same
from soak.credentials import Credentials  # the same
from soak.faults import FAULTS  # the same
from soak.leaks import Held, grown, measure  # the same
from soak.load import Load  # the same
from soak.logs import LogReader  # the same
from soak.place import Place, running_place  # the same
from soak.report import Outcome, markdown  # the same
from soak.revocations import Revocations  # the same
from soak.schedule import Step, make_schedule  # the same
from soak.world import SURVIVOR, World  # the same
from support.peers.soak_site import family_of  # the same

WARM_S: Final = 30.0
QUIET_S: Final = 15.0
LOOK_S: Final = 20.0
RENEW_S: Final = 240.0
MOST_STEPS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for.

    Attributes:
        seconds: Length, without warming up.
        seed: Of the schedule and of all choices.
        per_s: Requests a second.
        grace_s: See `Account`.
        only: Faults; none: all.
        output: Where the report goes, also while the soak lasts; None: nowhere.
    """

    seconds: float
    seed: int
    per_s: float
    grace_s: float
    only: frozenset[str]
    output: Path | None


class Soak:
    """One run."""

    def __init__(self, place: Place, plan: Plan) -> None:
        self._place = place
        self._plan = plan
        self._credentials = Credentials(place)
        self._account = Account(grace_s=plan.grace_s)
        logs = [replica.process.log for replica in place.replicas]
        self._logs = LogReader(logs, self._credentials.has_secret)
        self._revocations = Revocations(place, self._account, plan.seed)
        self._faults: Counter[str] = Counter()
        self._before: list[Held] = []
        self._series: list[Held] = []
        self._started = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M")
        harms = {name: fault.harms for name, fault in FAULTS.items() if not plan.only or name in plan.only}
        self._steps = make_schedule(plan.seed, harms, MOST_STEPS)

    async def run(self) -> Outcome:
        """Warm up, measure, ask under faults for so long, measure again."""
        seconds = self._plan.seconds
        load = Load(self._place.port, self._credentials.kinds, self._account, self._plan.per_s, self._plan.seed)
        # The first requests of all kinds meet cold programs on a machine that has just started them.
        with self._account.fault("the start"):
            await self._for(min(WARM_S, seconds), load.run())
        await asyncio.sleep(QUIET_S)
        self._before = self._held()
        began = time.monotonic()
        await self._for(seconds, load.run(), self._revocations.run(), self._do_faults(began + seconds), self._look())
        # `_do_faults` begins none near the end, so nothing of a fault is left.
        await asyncio.sleep(QUIET_S)
        after = self._held()
        for number, (first, last) in enumerate(zip(self._before, after, strict=True)):
            for name, text in grown(first, last).items():
                self._account.report(rules.LEAK, f"replica {number}: {name}: {text}")
        self._read_logs()
        return self._outcome(after)

    def _outcome(self, after: list[Held]) -> Outcome:
        return Outcome(
            self._plan.seed,
            time.monotonic() - self._account.began,
            self._plan.per_s,
            self._account,
            self._faults,
            self._revocations.counts,
            self._before,
            after,
            self._series,
            self._logs.lines,
            self._started,
        )

    @staticmethod
    async def _for(seconds: float, *works: object) -> None:
        tasks = [asyncio.ensure_future(work) for work in works]  # type: ignore[call-overload]  # coroutines of ours
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _do_faults(self, until: float) -> None:
        for step in self._steps:
            await asyncio.sleep(self._plan.grace_s + step.calm_s)
            # The longest faults last half a minute.
            if time.monotonic() > until - 40:
                return
            await self._start_again()
            await asyncio.gather(*(self._do(name, step) for name in step.faults))
            say(f"{self._account.clock() - self._account.began:.0f} s, {', '.join(step.faults)}: {self._shown()}")

    async def _start_again(self) -> None:
        """Start a replica that a fault has left behind: that has been reported, and the others need it."""
        for replica in self._place.replicas:
            if replica.process.pid is None:
                with self._account.fault("a replica is missing"):
                    await asyncio.to_thread(replica.start)

    async def _do(self, name: str, step: Step) -> None:
        self._faults[name] += 1
        fault = FAULTS[name]
        world = World(self._place, self._credentials, random.Random(f"{step.seed}/{name}"))  # noqa: S311  # to be repeated
        with self._account.fault(name, fault.refuses):
            try:
                await asyncio.to_thread(fault.run, world)
            except (Exception, BaseException) as error:  # pytest.fail is a BaseException
                if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError)):
                    raise
                self._account.report(rules.NOT_HEALED, f"{name}: {error!r}"[:600])

    async def _look(self) -> None:
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_S)
            self._read_logs()
            held = self._held()
            self._series.append(held[SURVIVOR])
            write(self._plan.output, markdown(self._outcome(held)))
            if time.monotonic() - renewed > RENEW_S and not self._account.during(time.monotonic(), time.monotonic()):
                renewed = time.monotonic()
                # A fault may begin meanwhile: the old ones are good for some minutes more.
                with suppress(Exception):
                    await asyncio.to_thread(self._credentials.renew)

    def _read_logs(self) -> None:
        for text in self._logs.read():
            now = time.monotonic()
            self._account.report(rules.IN_THE_LOG, text, self._account.during(now - LOOK_S, now))

    def _held(self) -> list[Held]:
        return [measure(family_of(replica.process.pid or 0)) for replica in self._place.replicas]

    def _shown(self) -> str:
        kinds: Counter[int] = Counter()
        for (_, status), count in self._account.kinds.items():
            kinds[status] += count
        return f"{dict(sorted(kinds.items()))}, broken {dict(self._account.broken)}"


def write(output: Path | None, report: str) -> None:
    """Write the report to its file, if there is one."""
    if output is not None:
        output.write_text(report, encoding="utf-8")


def say(text: str) -> None:
    """Tell how far it is."""
    sys.stderr.write(f"soak: {text}\n")
    sys.stderr.flush()


def main() -> int:
    """Soak, print the report, and return 0 when no rule was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600, help="length, without warming up")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule and of all choices")
    parser.add_argument("--rate", type=float, default=120, help="requests a second")
    parser.add_argument("--grace", type=float, default=rules.GRACE_S, help="seconds in which a fault must heal")
    parser.add_argument("--only", action="append", default=[], metavar="FAULT", help="only this fault; may be repeated")
    parser.add_argument("--output", type=Path, help="also write the report there")
    given = parser.parse_args()
    if unknown := set(given.only).difference(FAULTS):
        parser.error(f"{', '.join(sorted(unknown))}: not among: {', '.join(FAULTS)}")
    plan = Plan(given.seconds, given.seed, given.rate, given.grace, frozenset(given.only), given.output)
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with running_place(folder) as place:
            say(f"running in {folder}, front at port {place.port}")

            async def soak() -> Outcome:
                return await Soak(place, plan).run()

            outcome = uvloop.run(soak())
    report = markdown(outcome)
    sys.stdout.write(report)
    write(plan.output, report)
    return 0 if outcome.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())

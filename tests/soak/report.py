"""The report of a soak, as Markdown."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from soak.account import CALM, NO_ANSWER, RULES, Account
from soak.leaks import Held


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a soak has found.

    Attributes:
        seed: Of the run.
        lasted_s: Seconds under load.
        per_s: Wanted rate.
        account: Judged answers.
        faults: How often each fault came.
        revocations: By kind and outcome.
        before, after: What each replica held, before and after the load.
        series: What the replica that is never stopped held during the run.
        log_lines: How many lines of log were read.
        started: Date and time of the beginning, UTC.
    """

    seed: int
    lasted_s: float
    per_s: float
    account: Account
    faults: Mapping[str, int]
    revocations: Mapping[tuple[str, str], int]
    before: Sequence[Held]
    after: Sequence[Held]
    series: Sequence[Held]
    log_lines: int
    started: str

    @property
    def is_clean(self) -> bool:
        """Whether no rule was broken."""
        return not self.account.broken


def markdown(outcome: Outcome) -> str:
    """Return the whole report."""
    account = outcome.account
    began = (
        f"Seed {outcome.seed}, {outcome.started} UTC: {account.requests:,} requests in {outcome.lasted_s / 60:.0f} minutes, "
        f"{sum(outcome.faults.values())} faults, {sum(outcome.revocations.values())} revocations tried, "
        f"{outcome.log_lines:,} lines of log read. Python {platform.python_version()}."
    )
    lines = [
        began,
        "",
        "| Rule | broken |",
        "|---|---|",
        *(f"| {rule} | {account.broken[rule]} |" for rule in RULES),
        "",
        *_statuses(account),
        *_latency(account),
        *_kinds(account),
        *_faults(outcome.faults),
        *_revocations(outcome.revocations),
        *_held(outcome),
        *_violations(account),
    ]
    return "\n".join(lines) + "\n"


def _status(status: int) -> str:
    return "none" if status == NO_ANSWER else str(status)


def _statuses(account: Account) -> list[str]:
    seen = sorted({status for _, status in account.statuses})
    head = [f"| Phase | {' | '.join(map(_status, seen))} |", f"|---|{'---|' * len(seen)}"]
    rows = [
        f"| {name} | {' | '.join(f'{account.statuses[phase, status]:,}' for status in seen)} |"
        for phase, name in ((CALM, "without a fault"), ("fault", "during a fault and its grace"))
    ]
    return [*head, *rows, ""]


def _latency(account: Account) -> list[str]:
    if not account.calm_ms:
        return []
    shares = {share: percentile(account.calm_ms, share) for share in (0.5, 0.99, 0.999)}
    shown = ", ".join(f"p{100 * share:g} {value} ms" for share, value in shares.items())
    return [f"Expected answers without a fault took: {shown}, at most {max(account.calm_ms)} ms.", ""]


def percentile(counted: Counter[int], share: float) -> int:
    """Return the smallest value that so large a share of the values does not exceed."""
    wanted, seen = share * counted.total(), 0
    for value in sorted(counted):
        seen += counted[value]
        if seen >= wanted:
            return value
    return 0


def _kinds(account: Account) -> list[str]:
    names = sorted({kind for kind, _ in account.kinds})
    rows = []
    for name in names:
        statuses = {status: count for (kind, status), count in sorted(account.kinds.items()) if kind == name}
        shown = ", ".join(f"{_status(status)}: {count:,}" for status, count in statuses.items())
        rows.append(f"| {name} | {sum(statuses.values()):,} | {shown} |")
    return ["| Credential | requests | answers |", "|---|---|---|", *rows, ""]


def _faults(faults: Mapping[str, int]) -> list[str]:
    rows = [f"| {name} | {count} |" for name, count in sorted(faults.items())]
    return ["| Fault | times |", "|---|---|", *rows, ""]


def _revocations(counts: Mapping[tuple[str, str], int]) -> list[str]:
    outcomes = sorted({outcome for _, outcome in counts})
    rows = [
        f"| {kind} | {' | '.join(str(counts.get((kind, outcome), 0)) for outcome in outcomes)} |"
        for kind in sorted({kind for kind, _ in counts})
    ]
    return [f"| Revoked | {' | '.join(outcomes)} |", f"|---|{'---|' * len(outcomes)}", *rows, ""]


def _held(outcome: Outcome) -> list[str]:
    rows = [
        f"| {number} | {first.memory_mib} to {last.memory_mib} | {first.threads} to {last.threads} "
        f"| {first.files} to {last.files} |"
        for number, (first, last) in enumerate(zip(outcome.before, outcome.after, strict=True))
    ]
    lines = ["| Replica | MiB | threads | files |", "|---|---|---|---|", *rows, ""]
    if outcome.series:
        step = max(1, len(outcome.series) // 12)
        shown = ", ".join(f"{one.memory_mib:.0f}" for one in outcome.series[::step])
        lines += [f"Memory of the replica that is never stopped, in MiB, at equal times: {shown}.", ""]
    return lines


def _violations(account: Account) -> list[str]:
    return [
        f"- {one.at_s} s, {one.rule}: {one.text} ({', '.join(one.faults) or 'no fault'})" for one in account.violations
    ]

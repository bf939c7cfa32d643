"""What a user of a warm credential notices while it is checked again, and while others guess passwords."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from performance import servers
from performance.load import Sample, Target, flood, load
from performance.table import Row, at_least, at_most, rate, wrong_in
from performance.warm import CONNECTIONS, expect_token

_ASKED = {"Authorization": servers.AUTHORIZATION, **servers.ASKED}
_SHORT_TTL_S = 2
_FLOODING, _WARM = 12, 4
# A guess that is answered with 503 has cost no hash: that is how the flood is held.
_GUESS_ANSWERS = frozenset((401, 503))


def expiring(folder: Path, *, seconds: float, rounds: int) -> list[Row]:
    """Return P11: one hot credential that is checked again every two seconds against one that is not."""
    with ExitStack() as stack:
        upstream = stack.enter_context(servers.upstream(folder))
        short = stack.enter_context(servers.gateway(folder, upstream.port, name="short", cache_ttl_s=_SHORT_TTL_S))
        long = stack.enter_context(servers.gateway(folder, upstream.port, name="long"))
        shorts: list[Sample] = []
        longs: list[Sample] = []
        for _ in range(rounds):
            for one, samples in ((long, longs), (short, shorts)):
                # Its last use was a window ago, so it has expired; what is measured begins when it is warm again.
                expect_token(one.port)
                target = Target(one.name, servers.FORWARD_AUTH, _ASKED, one, (one,))
                samples.append(load(target, connections=CONNECTIONS, seconds=max(seconds, 3 * _SHORT_TTL_S)))
    return [
        at_most(
            "P11",
            "one hot credential expiring every 2 s under 32 connections: p99 against 600 s",
            1.5,
            [one.p99_us / other.p99_us for one, other in zip(shorts, longs, strict=True)],
            f"{median(one.p99_us for one in shorts) / 1000:.2f} ms to {median(one.p99_us for one in longs) / 1000:.2f} ms;"
            f" {rate(shorts)} to {rate(longs)}",
            wrong_in(shorts, longs),
        )
    ]


def flooded(folder: Path, *, seconds: float, rounds: int) -> list[Row]:
    """Return P12: what a warm user keeps while twelve connections guess passwords."""
    with ExitStack() as stack:
        upstream = stack.enter_context(servers.upstream(folder))
        gate = stack.enter_context(servers.gateway(folder, upstream.port))
        expect_token(gate.port)
        target = Target("gate", servers.FORWARD_AUTH, _ASKED, gate, (gate,))
        load(target, connections=_WARM, seconds=1)
        alone: list[Sample] = []
        under: list[Sample] = []
        guesses: list[int] = []
        for _ in range(rounds):
            alone.append(load(target, connections=_WARM, seconds=seconds))
            during, statuses = _while_flooding(
                gate.port, lambda: load(target, connections=_WARM, seconds=seconds), seconds
            )
            under.append(during)
            guesses.extend(statuses)
    let_in = sum(status not in _GUESS_ANSWERS for status in guesses)
    return [
        at_least(
            "P12",
            "flood of wrong passwords on 12 connections: throughput that a warm user on 4 keeps",
            0.5,
            [one.per_s / other.per_s for one, other in zip(under, alone, strict=True)],
            f"{rate(under)} of {rate(alone)}; {len(guesses) / rounds / (seconds + 1):.0f} guesses answered/s",
            wrong_in(alone, under) + let_in + (not guesses),
        )
    ]


def _while_flooding(port: int, measure: Callable[[], Sample], seconds: float) -> tuple[Sample, list[int]]:
    with ThreadPoolExecutor(1) as pool:
        # The flood lasts a little longer than the window, which must not end in calm.
        flooding = pool.submit(
            lambda: asyncio.run(flood(port, servers.API, connections=_FLOODING, seconds=seconds + 1))
        )
        sample = measure()
        return sample, flooding.result()

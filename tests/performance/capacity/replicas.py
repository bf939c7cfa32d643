"""One, two and three real replicas behind nginx, measured for what the simulation says about them."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from performance import servers
from performance.capacity.simulation import (
    REPLICA,
    Machine,
    Replicas,
    Seen,
    Visit,
    constant,
    exponential,
    simulate_arrivals,
    simulate_machine,
    summarise,
)
from performance.load import Sample, Target, basic, interleave
from performance.programs import Program
from soak.conversation import Connection

NUMBERS: Final = (1, 2, 3)
# Few threads and a long wait: then threads are the limit and not this machine's cores.
THREADS: Final = 4
WAITING: Final = 8
WAIT_S: Final = 0.1
CLIENTS: Final = 24
ALONE: Final = 25
MOST_OTHERS: Final = 60
_KEPT: Final = "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header X-Forwarded-For $arg_from;"


@dataclass(frozen=True, slots=True)
class Compared:
    """A situation, measured and simulated.

    Attributes:
        what: In words.
        replicas: How many.
        measured: By clients of real replicas.
        simulated: With the same load.
    """

    what: str
    replicas: int
    measured: Seen
    simulated: Seen


@contextmanager
def waiting_replicas(folder: Path, number: int) -> Generator[Program]:
    """Run nginx in front of replicas with a backend that waits, and few threads."""
    with ExitStack() as stack:
        upstream = stack.enter_context(servers.upstream(folder))
        gates = [
            stack.enter_context(
                servers.gateway(
                    folder,
                    upstream.port,
                    name=f"waiting{place}",
                    auth_backends=["slow_backend.Slow"],
                    serve=f"threads = {THREADS}, max_waiting = {WAITING}",
                    env={"SLOW_MS": str(round(WAIT_S * 1000))},
                )
            )
            for place in range(number)
        ]
        yield stack.enter_context(front(folder, f"front{number}", [gate.port for gate in gates]))


@contextmanager
def front(folder: Path, name: str, ports: Sequence[int]) -> Generator[Program]:
    """Run an nginx that gives requests to the ports in turn."""
    ports_of = "".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
    outside = f"upstream gates {{ {ports_of} keepalive 64; keepalive_requests 100000000; }}\n"
    with servers.nginx(folder, name, f"location / {{ proxy_pass http://gates; {_KEPT} }}", outside) as program:
        yield program


def measure_waiting(folder: Path, *, loads: Sequence[float], seconds: float, seed: int) -> list[Compared]:
    """Return what requests see that arrive at random, at each load of one replica's threads, with 1, 2 and 3 replicas.

    Args:
        folder: For all files.
        loads: What arrives, as a share of what one replica's threads can serve.
        seconds: Length of each window.
        seed: Of the arrivals, and of the simulation.
    """
    found: list[Compared] = []
    for number in NUMBERS:
        home = folder / f"waiting-{number}"
        home.mkdir()
        with waiting_replicas(home, number) as program:
            alone_s = asyncio.run(_alone(program.port))
            service = constant(alone_s)
            for share in loads:
                per_s = share * THREADS / WAIT_S
                measured = asyncio.run(_arrive(program.port, per_s, seconds, seed))
                simulated = simulate_arrivals(
                    Replicas(number, THREADS, service, WAITING), per_s, requests=20_000, seed=seed
                )
                found.append(Compared(f"{per_s:.0f} requests a second arrive", number, measured, simulated))
    return found


async def _alone(port: int) -> float:
    """Return the median time of a request that nothing of ours is in the way of."""
    connection = Connection(port)
    times: list[float] = []
    for _ in range(ALONE):
        began = time.monotonic()
        reply = await connection.ask("GET", f"{servers.API}?from=10.4.0.1", {"Authorization": basic("user", "any")})
        if reply.status != 200:
            raise RuntimeError(f"a request alone: {reply.status}")
        times.append(time.monotonic() - began)
    connection.close()
    return median(times)


async def _arrive(port: int, per_s: float, seconds: float, seed: int) -> Seen:
    """Ask at random moments, whether earlier requests have their answers or not."""
    chosen = random.Random(seed)  # noqa: S311  # to be repeated, not to be secret
    free: list[Connection] = []
    times: list[float] = []
    refused = 0
    asked: list[asyncio.Task[None]] = []
    began = time.monotonic()

    async def ask(number: int) -> None:
        nonlocal refused
        connection = free.pop() if free else Connection(port)
        sent = time.monotonic()
        # Each from an address of its own: no address gets all threads.
        target = f"{servers.API}?from=10.2.{number // 250 % 250}.{number % 250 + 1}"
        reply = await connection.ask("GET", target, {"Authorization": basic(f"user{number}", "any")})
        if reply.status == 200:
            times.append(time.monotonic() - sent)
        else:
            refused += 1
        free.append(connection)

    next_at = began
    while next_at - began < seconds:
        next_at += chosen.expovariate(per_s)
        await asyncio.sleep(max(0.0, next_at - time.monotonic()))
        asked.append(asyncio.ensure_future(ask(len(asked))))
    await asyncio.gather(*asked)
    for connection in free:
        connection.close()
    return summarise(times, refused, time.monotonic() - began)


def measure_busy(folder: Path, *, seconds: float, rounds: int, seed: int) -> list[Compared]:
    """Return the throughput of replicas that share this machine's cores with nginx, the upstream and the client.

    The work of each program is that of one request as measured with one replica. How many other programs want the cores
    follows from the throughput of one replica; the simulation then says what a second and a third can add.
    """
    found: list[Compared] = []
    with ExitStack() as stack:
        upstream = stack.enter_context(servers.upstream(folder))
        gates = [stack.enter_context(servers.gateway(folder, upstream.port, name=f"busy{place}")) for place in range(3)]
        fronts = [stack.enter_context(front(folder, f"busy-front{n}", [g.port for g in gates[:n]])) for n in NUMBERS]
        headers = {"Authorization": servers.AUTHORIZATION}
        targets = [
            Target(str(number), f"{servers.API}?from=10.3.0.1", headers, program, tuple(gates))
            for number, program in zip(NUMBERS, fronts, strict=True)
        ]
        unlike = [Target("others", targets[0].path, headers, fronts[0], (fronts[0], upstream))]
        interleave(targets, connections=CLIENTS, seconds=1, rounds=1)
        samples = interleave(targets, connections=CLIENTS, seconds=seconds, rounds=rounds)
        rest = interleave(unlike, connections=CLIENTS, seconds=seconds, rounds=1)["others"][0]
    gate_s = samples["1"][0].cpu_us / 1e6
    # The client of the load costs about as much as the cheap upstream.
    other_s = rest.cpu_us / 1e6
    visits = (
        Visit("client", exponential(other_s / 3)),
        Visit("nginx", exponential(other_s / 3)),
        Visit(REPLICA, exponential(gate_s)),
        Visit("upstream", exponential(other_s / 3)),
        Visit("nginx", exponential(other_s / 3)),
    )
    measured = [_middle(samples[str(number)]) for number in NUMBERS]
    others = _others_like(measured[0], visits, seed)
    for number, seen in zip(NUMBERS, measured, strict=True):
        machine = Machine(os.cpu_count() or 1, number, visits, CLIENTS, others)
        simulated = simulate_machine(machine, requests=30_000, seed=seed)
        found.append(Compared(f"clients ask again at once, {others} others", number, seen, simulated))
    return found


def _middle(samples: Sequence[Sample]) -> Seen:
    middle = sorted(samples, key=lambda sample: sample.per_s)[len(samples) // 2]
    return Seen(middle.per_s, 0.0, middle.p50_us / 1e6, middle.p99_us / 1e6)


def _others_like(one_replica: Seen, visits: tuple[Visit, ...], seed: int) -> int:
    """Return how many other programs explain what one replica could do."""

    def error(others: int) -> float:
        machine = Machine(os.cpu_count() or 1, 1, visits, CLIENTS, others)
        return abs(simulate_machine(machine, requests=4_000, seed=seed).per_s - one_replica.per_s)

    return min(range(MOST_OTHERS), key=error)

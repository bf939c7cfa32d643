"""A discrete-event simulation of replicas: what waits, what is refused, and how throughput grows. Times are in seconds."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

Draw = Callable[[random.Random], float]
"""Returns the next time of a kind, such as a service or a pause."""
WARM_SHARE: Final = 0.1
"""The first share of the requests does not count: queues are still empty."""


def exponential(mean_s: float) -> Draw:
    """Return times with an exponential distribution."""
    return lambda chosen: chosen.expovariate(1 / mean_s)


def constant(value_s: float) -> Draw:
    """Return the same time always."""
    return lambda _: value_s


@dataclass(frozen=True, slots=True)
class Replicas:
    """Equal replicas behind a front that gives each request to the next one in turn.

    Attributes:
        number: How many.
        servers: Threads of each that serve requests.
        service: Time of a request on a thread.
        waiting: Requests that may wait in each; more are refused.
    """

    number: int
    servers: int
    service: Draw
    waiting: int = 10**9


@dataclass(frozen=True, slots=True)
class Seen:
    """What the requests of a simulation or of a measurement saw.

    Attributes:
        per_s: Answered a second.
        refused_share: Of all requests, those that were refused.
        mean_s: Mean time to an answer.
        p95_s: Time that 95 % of the answers do not exceed.
    """

    per_s: float
    refused_share: float
    mean_s: float
    p95_s: float


def summarise(times_s: Sequence[float], refused: int, lasted_s: float) -> Seen:
    """Return what was seen in a time.

    Args:
        times_s: Of all answers.
        refused: How many requests were refused.
        lasted_s: From the first request to the last answer.
    """
    if not times_s:
        return Seen(0.0, 1.0, 0.0, 0.0)
    ordered = sorted(times_s)
    mean = sum(ordered) / len(ordered)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return Seen(len(ordered) / lasted_s, refused / (refused + len(ordered)), mean, p95)


def simulate_arrivals(replicas: Replicas, arrivals_per_s: float, *, requests: int, seed: int) -> Seen:
    """Return what requests see that arrive at random (a Poisson process), whether others wait or not."""
    chosen = random.Random(seed)  # noqa: S311  # to be repeated, not to be secret
    free = [replicas.servers] * replicas.number
    queues: list[deque[float]] = [deque() for _ in range(replicas.number)]
    # An event is a departure: when, an order among equals, from which replica.
    departures: list[tuple[float, int, int]] = []
    order, times, refused, now = count(), list[float](), 0, 0.0
    skipped, counted_from = int(requests * WARM_SHARE), 0.0

    def serve(replica: int, arrived: float, at: float) -> None:
        ends = at + replicas.service(chosen)
        heapq.heappush(departures, (ends, next(order), replica))
        if arrived >= counted_from:
            times.append(ends - arrived)

    def depart(until: float) -> None:
        while departures and departures[0][0] <= until:
            at, _, replica = heapq.heappop(departures)
            if queues[replica]:
                serve(replica, queues[replica].popleft(), at)
            else:
                free[replica] += 1

    for number in range(requests):
        now += chosen.expovariate(arrivals_per_s)
        depart(now)
        if number == skipped:
            counted_from, refused = now, 0
            times.clear()
        replica = number % replicas.number
        if free[replica]:
            free[replica] -= 1
            serve(replica, now, now)
        elif len(queues[replica]) < replicas.waiting:
            queues[replica].append(now)
        else:
            refused += 1
    last = now
    depart(float("inf"))
    return summarise(times, refused, last - counted_from)


@dataclass(frozen=True, slots=True)
class Visit:
    """One piece of work of a request.

    Attributes:
        program: Which program does it, one piece at a time.
        work: CPU time of it.
    """

    program: str
    work: Draw


REPLICA: Final = "replica"
"""A visit to this program goes to one of the replicas, in turn."""
OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Machine:
    """Programs that share the cores of one machine.

    Attributes:
        cores: How many programs can work at once.
        replicas: How many programs `REPLICA` stands for.
        visits: The work of one request, in order.
        clients: Requests that are under way at any time: each client asks again as soon as it has its answer.
        others: Programs of other people that always want a core.
        slice_s: For how long a program may keep a core while others wait.
    """

    cores: int
    replicas: int
    visits: tuple[Visit, ...]
    clients: int
    others: int = 0
    slice_s: float = 0.003


def simulate_machine(machine: Machine, *, requests: int, seed: int) -> Seen:
    """Return what clients see that ask again and again.

    A program works on one piece after the other, and needs a core for it. Programs that wait for a core get one in turn.
    """
    running = _Running(machine, random.Random(seed))  # noqa: S311  # to be repeated, not to be secret
    skipped, counted_from = int(requests * WARM_SHARE), 0.0
    while running.done < requests:
        running.step()
        if running.done == skipped:
            counted_from = running.now
            running.times.clear()
    return summarise(running.times, 0, running.now - counted_from)


class _Running:
    """A machine at work.

    Attributes:
        now: Time of the last event.
        done: Answered requests.
        times: How long each of them took.
    """

    def __init__(self, machine: Machine, chosen: random.Random) -> None:
        self.now = 0.0
        self.done = 0
        self.times: list[float] = []
        self._machine = machine
        self._chosen = chosen
        self._free = machine.cores
        # Client and place of the visit; the first is the one that is worked on.
        self._queues: dict[str, deque[tuple[int, int]]] = {}
        self._ready: deque[str] = deque()
        # Waiting for a core, or on one: such a program is not put into `_ready` again.
        self._busy: set[str] = set()
        # When a piece ends, an order among equals, the program, and until when it may keep its core.
        self._ends: list[tuple[float, int, str, float]] = []
        self._order, self._turn = count(), count()
        self._began = [0.0] * machine.clients
        self._ready.extend(f"{OTHER} {number}" for number in range(machine.others))
        for client in range(machine.clients):
            self._arrive(client, 0)

    def step(self) -> None:
        """Let programs begin, and the next one end a piece."""
        while self._free and self._ready:
            self._free -= 1
            self._work(self._ready.popleft(), self.now + self._machine.slice_s)
        self.now, _, program, until = heapq.heappop(self._ends)
        if program.startswith(OTHER):
            self._leave(program)
            return
        queue = self._queues[program]
        client, place = queue.popleft()
        if not queue:
            self._busy.discard(program)
            self._free += 1
        elif self.now < until:
            self._work(program, until)
        else:
            self._leave(program)
        self._go_on(client, place)

    def _leave(self, program: str) -> None:
        self._free += 1
        self._ready.append(program)

    def _work(self, program: str, until: float) -> None:
        if program.startswith(OTHER):
            ends = until
        else:
            ends = self.now + self._machine.visits[self._queues[program][0][1]].work(self._chosen)
        heapq.heappush(self._ends, (ends, next(self._order), program, until))

    def _arrive(self, client: int, place: int) -> None:
        program = self._machine.visits[place].program
        if program == REPLICA:
            program = f"{REPLICA} {next(self._turn) % self._machine.replicas}"
        self._queues.setdefault(program, deque()).append((client, place))
        if program not in self._busy:
            self._busy.add(program)
            self._ready.append(program)

    def _go_on(self, client: int, place: int) -> None:
        if place + 1 < len(self._machine.visits):
            self._arrive(client, place + 1)
            return
        self.done += 1
        self.times.append(self.now - self._began[client])
        self._began[client] = self.now
        self._arrive(client, 0)

"""What the processes of a replica know of each other."""

from __future__ import annotations

import os

from compat_auth.gateway.server.worker_states import Phase, Stop, WorkerStates


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_sign_that_a_child_gives_is_seen_by_its_parent() -> None:
    states = WorkerStates(2, silence_s=15)

    child = os.fork()
    if not child:
        states.beat(1, Phase.SERVING)
        os._exit(0)
    os.waitpid(child, 0)

    assert [states.phase(worker) for worker in (0, 1)] == [Phase.STARTING, Phase.SERVING]
    assert states.silent_for(1) < 5


def test_one_silent_worker_makes_the_replica_not_ready_until_another_serves() -> None:
    clock = Clock()
    states = WorkerStates(2, silence_s=15, now=clock)
    states.beat(0, Phase.SERVING)
    states.beat(1, Phase.SERVING)
    assert states.why_not_ready() == ""

    clock.now += 12
    states.beat(0, Phase.SERVING)

    assert states.hung() == [1]
    assert states.why_not_ready() == "1 of 2 workers do not respond"
    states.beat(1, Phase.STARTING)
    assert states.why_not_ready() == ""


def test_a_replica_that_stops_is_not_ready() -> None:
    states = WorkerStates(1, silence_s=15)
    states.beat(0, Phase.SERVING)

    states.stop = Stop.DRAINED

    assert states.why_not_ready() == "the replica is stopping"

import random
from collections.abc import Callable

import pytest

from performance.capacity.queueing import wait_md1, wait_mm1, wait_mmc
from performance.capacity.simulation import (
    REPLICA,
    Draw,
    Machine,
    Replicas,
    Visit,
    constant,
    exponential,
    simulate_arrivals,
    simulate_machine,
    summarise,
)

REQUESTS = 60_000


@pytest.mark.parametrize(
    ("service", "expected"),
    [pytest.param(exponential, wait_mm1, id="mm1"), pytest.param(constant, wait_md1, id="md1")],
)
def test_one_thread_waits_as_long_as_theory_says(
    service: Callable[[float], Draw], expected: Callable[[float, float], float]
) -> None:
    seen = simulate_arrivals(Replicas(1, 1, service(0.01)), 70, requests=REQUESTS, seed=1)

    assert seen.mean_s - 0.01 == pytest.approx(expected(70, 0.01), rel=0.06)
    assert seen.per_s == pytest.approx(70, rel=0.02)


def test_several_threads_wait_as_long_as_erlang_says() -> None:
    seen = simulate_arrivals(Replicas(1, 4, exponential(0.04)), 85, requests=REQUESTS, seed=2)

    assert seen.mean_s - 0.04 == pytest.approx(wait_mmc(85, 0.04, 4), rel=0.08)


def test_replicas_in_turn_wait_less_than_replicas_at_random() -> None:
    # In turn, each replica's arrivals are more even than a Poisson process.
    seen = simulate_arrivals(Replicas(3, 1, exponential(0.01)), 210, requests=REQUESTS, seed=3)

    assert 0 < seen.mean_s - 0.01 < wait_mm1(70, 0.01)


def test_what_may_not_wait_is_refused_as_erlang_says() -> None:
    # Erlang B with one server and one erlang: half.
    seen = simulate_arrivals(Replicas(1, 1, exponential(0.01), waiting=0), 100, requests=REQUESTS, seed=4)

    assert seen.refused_share == pytest.approx(0.5, abs=0.01)


def test_an_overload_is_answered_at_the_rate_of_the_threads() -> None:
    seen = simulate_arrivals(Replicas(2, 4, constant(0.05), waiting=8), 320, requests=REQUESTS, seed=5)

    assert seen.per_s == pytest.approx(160, rel=0.02)
    assert seen.refused_share == pytest.approx(0.5, abs=0.02)


def test_the_same_seed_gives_the_same_run() -> None:
    replicas = Replicas(2, 3, exponential(0.02))

    first, again, other = (simulate_arrivals(replicas, 200, requests=5_000, seed=seed) for seed in (6, 6, 7))

    assert first == again != other


def machine(cores: int, replicas: int, clients: int = 16) -> Machine:
    visits = tuple(Visit(program, constant(work)) for program, work in (("client", 1e-4), (REPLICA, 3e-4)))
    return Machine(cores, replicas, visits, clients)


@pytest.mark.parametrize(
    ("cores", "replicas", "per_s"),
    [
        pytest.param(1, 1, 1 / 4e-4, id="one-core-does-all-work"),
        pytest.param(1, 3, 1 / 4e-4, id="replicas-give-no-cores"),
        pytest.param(8, 1, 1 / 3e-4, id="the-slowest-program-is-the-limit"),
        pytest.param(8, 2, 2 / 3e-4, id="a-second-replica-doubles-it"),
        pytest.param(8, 3, 1 / 1e-4, id="then-the-client-is-the-limit"),
        pytest.param(2, 3, 2 / 4e-4, id="two-cores-do-all-work"),
    ],
)
def test_throughput_is_limited_by_the_slowest_program_and_by_the_cores(cores: int, replicas: int, per_s: float) -> None:
    seen = simulate_machine(machine(cores, replicas), requests=20_000, seed=1)

    assert seen.per_s == pytest.approx(per_s, rel=0.02)


def test_what_is_under_way_is_throughput_times_time() -> None:
    # Little's law.
    seen = simulate_machine(machine(2, 2, clients=10), requests=20_000, seed=1)

    assert seen.per_s * seen.mean_s == pytest.approx(10, rel=0.01)


def test_nothing_answered_is_all_refused() -> None:
    assert summarise([], 3, 1.0).refused_share == 1.0


def test_draws_have_their_mean() -> None:
    chosen = random.Random(1)  # noqa: S311  # to be repeated

    drawn = [exponential(2.0)(chosen) for _ in range(50_000)]

    assert sum(drawn) / len(drawn) == pytest.approx(2.0, rel=0.02)
    assert constant(2.0)(chosen) == 2.0

from itertools import pairwise

from soak.schedule import CALM_S, make_schedule

HARMS = {
    "the database is stopped": frozenset({"postgres"}),
    "the database is frozen": frozenset({"postgres"}),
    "Redis is stopped": frozenset({"redis"}),
    "a replica starts without its store": frozenset({"replica", "postgres"}),
    "a replica is killed": frozenset({"replica"}),
}


def test_the_seed_alone_decides() -> None:
    assert make_schedule(7, HARMS, 50) == make_schedule(7, dict(reversed(HARMS.items())), 50)
    assert make_schedule(7, HARMS, 50) != make_schedule(8, HARMS, 50)


def test_each_fault_comes_before_any_comes_a_third_time() -> None:
    steps = make_schedule(1, HARMS, 10)

    first = [name for step in steps for name in step.faults][: 2 * len(HARMS)]

    assert set(first) == set(HARMS)


def test_no_two_faults_of_a_moment_harm_the_same_program() -> None:
    together = [step.faults for step in make_schedule(1, HARMS, 2_000) if len(step.faults) > 1]

    assert together
    assert all(HARMS[one].isdisjoint(HARMS[other]) for one, other in together)


def test_a_single_fault_comes_again_and_again() -> None:
    steps = make_schedule(1, {"only": frozenset({"x"})}, 500)

    assert {step.faults for step in steps} == {("only",)}


def test_every_fault_has_time_to_heal() -> None:
    steps = make_schedule(3, HARMS, 200)

    assert all(CALM_S[0] <= step.calm_s <= CALM_S[1] for step in steps)
    assert all(one.seed != other.seed for one, other in pairwise(steps))

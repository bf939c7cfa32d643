import random

import pytest

from performance.capacity.queueing import (
    Overloaded,
    checks_per_s,
    probability_of_wait,
    remembered_share,
    utilisation,
    wait_md1,
    wait_mm1,
    wait_mmc,
)


def test_at_half_the_load_a_request_of_mm1_waits_for_one_service() -> None:
    assert wait_mm1(50, 0.01) == pytest.approx(0.01)


def test_equal_services_halve_the_wait() -> None:
    assert wait_md1(80, 0.01) == pytest.approx(wait_mm1(80, 0.01) / 2)


def test_one_server_of_mmc_is_mm1() -> None:
    assert wait_mmc(70, 0.01, 1) == pytest.approx(wait_mm1(70, 0.01))


def test_erlang_c_has_its_published_value() -> None:
    # Two servers, one erlang: 1/3 (Kleinrock, Queueing Systems I, 3.5).
    assert probability_of_wait(1, 1, 2) == pytest.approx(1 / 3)


def test_many_servers_wait_less_than_one_fast_server_queue_each() -> None:
    assert wait_mmc(80, 0.1, 10) < wait_mm1(8, 0.1)


@pytest.mark.parametrize("arrivals", [pytest.param(100, id="all-of-it"), pytest.param(101, id="more")])
def test_a_load_that_cannot_be_served_is_an_error(arrivals: float) -> None:
    with pytest.raises(Overloaded, match="1 can serve"):
        utilisation(arrivals, 0.01)


def test_a_credential_that_is_never_used_is_never_checked() -> None:
    assert (checks_per_s(0, 60, 8), remembered_share(0, 60, 8)) == (0, 0)


def test_a_busy_credential_is_checked_once_a_period_in_each_memory() -> None:
    assert checks_per_s(1e9, 60, 8) == pytest.approx(8 / 60)


def test_a_rare_credential_is_checked_at_each_use() -> None:
    assert checks_per_s(0.001, 60, 100) == pytest.approx(0.001, rel=0.001)


def test_a_counted_process_has_as_many_checks_as_the_form_says() -> None:
    chosen = random.Random(7)  # noqa: S311  # to be repeated
    uses_per_s, remembered_s, memories, uses = 2.0, 5.0, 4, 200_000
    known_until, now, checks = [0.0] * memories, 0.0, 0
    for _ in range(uses):
        now += chosen.expovariate(uses_per_s)
        memory = chosen.randrange(memories)
        if now >= known_until[memory]:
            checks += 1
            known_until[memory] = now + remembered_s

    assert checks / now == pytest.approx(checks_per_s(uses_per_s, remembered_s, memories), rel=0.02)

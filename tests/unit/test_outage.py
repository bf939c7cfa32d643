"""A server that is away is tried by one at a time, and not without a pause."""

from __future__ import annotations

import pytest

from compat_auth.outage import PAUSE_S, Outage
from stand_ins import Clock


def fail(outage: Outage) -> None:
    with pytest.raises(TimeoutError), outage.trying():
        raise TimeoutError


def test_while_it_answers_any_number_may_ask_at_once() -> None:
    outage = Outage()

    with outage.trying(), outage.trying():
        pass


def test_after_a_failure_nobody_asks_for_a_moment() -> None:
    outage = Outage(clock := Clock())
    fail(outage)

    clock.time += PAUSE_S - 0.01

    with pytest.raises(ConnectionError), outage.trying():
        pytest.fail("asked")


def test_then_one_at_a_time_asks_and_all_do_when_it_is_back() -> None:
    outage = Outage(clock := Clock())
    fail(outage)
    clock.time += PAUSE_S

    with outage.trying(), pytest.raises(ConnectionError), outage.trying():
        pytest.fail("two at once")

    with outage.trying(), outage.trying():
        pass


def test_while_it_stays_away_the_next_one_asks_after_the_next_pause() -> None:
    outage = Outage(clock := Clock())
    fail(outage)
    clock.time += PAUSE_S
    fail(outage)

    with pytest.raises(ConnectionError), outage.trying():
        pytest.fail("asked")
    clock.time += PAUSE_S
    fail(outage)


def test_an_accident_says_nothing_about_the_server_and_lets_the_next_one_ask() -> None:
    outage = Outage(clock := Clock())
    fail(outage)
    clock.time += PAUSE_S
    with pytest.raises(ZeroDivisionError), outage.trying():
        raise ZeroDivisionError

    with outage.trying():
        pass

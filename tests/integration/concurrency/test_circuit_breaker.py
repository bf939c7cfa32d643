"""A server that is away is tried by one at a time, and not without a pause."""

from __future__ import annotations

import contextlib
import os

import pytest

from compat_auth.concurrency.circuit_breaker import MAX_CALLERS, PATIENCE_S, PAUSE_S, CircuitBreaker
from support.stand_ins import Clock


def fail(outage: CircuitBreaker) -> None:
    with pytest.raises(TimeoutError), outage.trying():
        raise TimeoutError


def test_while_it_answers_any_number_may_ask_at_once() -> None:
    outage = CircuitBreaker()

    with outage.trying(), outage.trying():
        pass


def test_after_a_failure_nobody_asks_for_a_moment() -> None:
    outage = CircuitBreaker(clock := Clock())
    fail(outage)

    clock.time += PAUSE_S - 0.01

    with pytest.raises(ConnectionError), outage.trying():
        pytest.fail("asked")


def test_then_one_at_a_time_asks_and_all_do_when_it_is_back() -> None:
    outage = CircuitBreaker(clock := Clock())
    fail(outage)
    clock.time += PAUSE_S

    with outage.trying(), pytest.raises(ConnectionError), outage.trying():
        pytest.fail("two at once")

    with outage.trying(), outage.trying():
        pass


def test_while_it_stays_away_the_next_one_asks_after_the_next_pause() -> None:
    outage = CircuitBreaker(clock := Clock())
    fail(outage)
    clock.time += PAUSE_S
    fail(outage)

    with pytest.raises(ConnectionError), outage.trying():
        pytest.fail("asked")
    clock.time += PAUSE_S
    fail(outage)


def test_an_accident_says_nothing_about_the_server_and_lets_the_next_one_ask() -> None:
    outage = CircuitBreaker(clock := Clock())
    fail(outage)
    clock.time += PAUSE_S
    with pytest.raises(ZeroDivisionError), outage.trying():
        raise ZeroDivisionError

    with outage.trying():
        pass


def test_a_server_that_answers_nobody_for_a_while_is_given_no_more_callers() -> None:
    outage = CircuitBreaker(clock := Clock())

    with outage.trying():
        clock.time += PATIENCE_S - 0.01
        with outage.trying():
            pass
        clock.time += PATIENCE_S
        with pytest.raises(ConnectionError, match="silent"), outage.trying():
            pytest.fail("asked")


def test_an_answer_to_one_caller_shows_that_the_server_is_not_silent() -> None:
    outage = CircuitBreaker(clock := Clock())

    with outage.trying():
        clock.time += PATIENCE_S - 0.5
        with outage.trying():
            pass
        clock.time += PATIENCE_S - 0.5
        with outage.trying():
            pass


def test_a_server_that_is_slow_to_say_no_is_not_silent_to_others() -> None:
    outage = CircuitBreaker(clock := Clock())
    with outage.trying():
        clock.time += 3 * PATIENCE_S

    with contextlib.ExitStack() as guessing:
        for _ in range(MAX_CALLERS):
            guessing.enter_context(outage.trying())
        clock.time += 3 * PATIENCE_S
        with outage.trying():
            pass


def test_a_server_that_is_slow_and_then_silent_is_found_out() -> None:
    outage = CircuitBreaker(clock := Clock())
    with outage.trying():
        clock.time += 3 * PATIENCE_S

    with outage.trying():
        clock.time += 1.5 * 3 * PATIENCE_S
        with pytest.raises(ConnectionError, match="silent"), outage.trying():
            pytest.fail("asked")


def test_how_slow_a_server_was_is_forgotten_when_it_stays_quick() -> None:
    outage = CircuitBreaker(clock := Clock())
    with outage.trying():
        clock.time += 3 * PATIENCE_S
    clock.time += 600

    with outage.trying():
        clock.time += PATIENCE_S
        with pytest.raises(ConnectionError, match="silent"), outage.trying():
            pytest.fail("asked")


def test_where_many_wait_already_patience_is_shorter() -> None:
    outage = CircuitBreaker(clock := Clock())

    with contextlib.ExitStack() as waiting:
        for _ in range(MAX_CALLERS):
            waiting.enter_context(outage.trying())
        clock.time += PATIENCE_S / 2
        with pytest.raises(ConnectionError, match="silent"), outage.trying():
            pytest.fail("asked")


def test_after_a_pause_without_callers_the_next_one_asks() -> None:
    outage = CircuitBreaker(clock := Clock())
    with outage.trying():
        pass

    clock.time += 100 * PATIENCE_S

    with outage.trying():
        pass


def test_all_who_ask_one_server_share_what_is_known_of_it() -> None:
    first, second, another = CircuitBreaker.of("one"), CircuitBreaker.of("one"), CircuitBreaker.of("another")
    fail(first)

    with pytest.raises(ConnectionError), second.trying():
        pytest.fail("asked")
    with another.trying():
        pass


def test_a_forked_process_waits_for_nobody_of_its_parent() -> None:
    outage = CircuitBreaker(clock := Clock())

    with outage.trying():
        clock.time += PATIENCE_S
        child = os.fork()
        if not child:
            status = 1
            with contextlib.suppress(ConnectionError), outage.trying():
                status = 0
            os._exit(status)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

"""A module starts within a time, and again later where a network has failed."""

from __future__ import annotations

import threading

import pytest

from compat_auth.authn.airflow2.starting import RETRY_AFTER_S, Start, StartTimeout, is_of_network, within

PATIENCE_S = 10


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Attempts:
    """Fails as it is told, and then starts."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.made = threading.Semaphore(0)
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
        self.made.release()
        if self.failures:
            raise self.failures.pop(0)


def start_of(attempts: Attempts, clock: Clock) -> Start:
    return Start(attempts, lambda error: type(error).__name__, timeout_s=PATIENCE_S, monotonic=clock)


def retried(start: Start) -> None:
    thread = start._thread
    assert thread is not None
    thread.join(PATIENCE_S)


def test_a_start_that_works_has_no_problem() -> None:
    start = start_of(Attempts(), Clock())

    start.run()

    assert start.problem == ""


def test_a_network_that_failed_is_tried_again_later() -> None:
    clock, attempts = Clock(), Attempts(ConnectionRefusedError())
    start = start_of(attempts, clock)
    start.run()

    early = start.problem
    assert attempts.count == 1
    clock.now = RETRY_AFTER_S
    due = start.problem
    retried(start)

    assert (early, due, start.problem) == ("ConnectionRefusedError", "ConnectionRefusedError", "")
    assert attempts.count == 2


@pytest.mark.parametrize("failure", [KeyError(), SystemExit(), FileNotFoundError(), PermissionError()])
def test_any_other_failure_stays(failure: BaseException) -> None:
    clock, attempts = Clock(), Attempts(failure)
    start = start_of(attempts, clock)
    start.run()

    clock.now = RETRY_AFTER_S * 10

    assert start.problem == type(failure).__name__
    assert attempts.count == 1


def test_a_start_that_hangs_does_not_stop_the_program_and_counts_once_it_ends() -> None:
    goes_on = threading.Event()

    def wait() -> None:
        goes_on.wait(PATIENCE_S)

    start = Start(wait, str, timeout_s=0.01)

    start.run()
    hanging = start.problem
    goes_on.set()
    retried(start)

    assert hanging == "has not started within 0.01 s; it is used once it has"
    assert start.problem == ""


def test_control_c_ends_the_program() -> None:
    with pytest.raises(KeyboardInterrupt):
        start_of(Attempts(KeyboardInterrupt()), Clock()).run()


def test_what_takes_longer_goes_on_behind() -> None:
    goes_on = threading.Event()

    with pytest.raises(StartTimeout):
        within(0.01, lambda: goes_on.wait(PATIENCE_S))

    goes_on.set()


def test_what_ends_in_time_gives_its_result_or_its_failure() -> None:
    assert within(PATIENCE_S, lambda: 3) == 3
    with pytest.raises(SystemExit):
        within(PATIENCE_S, lambda: (_ for _ in ()).throw(SystemExit()))


def test_a_cause_says_that_a_network_failed() -> None:
    wrapped = ValueError()
    wrapped.__cause__ = KeyError()
    wrapped.__cause__.__context__ = TimeoutError()

    assert is_of_network(wrapped)
    assert not is_of_network(ValueError())

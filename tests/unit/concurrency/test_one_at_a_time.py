"""Code that was written for one request at a time has one at a time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from compat_auth.concurrency.one_at_a_time import FairLock, alone, until_answered
from compat_auth.errors import BackendUnavailable


def test_those_who_wait_come_in_the_order_in_which_they_came() -> None:
    lock, order = FairLock(), list[int]()

    def take(number: int) -> None:
        assert lock.acquire(5)
        order.append(number)
        lock.release()

    assert lock.acquire(0)
    threads = [threading.Thread(target=take, args=(number,)) for number in range(5)]
    for waiting, thread in enumerate(threads, 1):
        thread.start()
        while len(lock._waiting) < waiting:
            time.sleep(0.001)
    lock.release()
    for thread in threads:
        thread.join(5)

    assert order == [0, 1, 2, 3, 4]


def test_who_has_waited_too_long_leaves_the_line() -> None:
    lock = FairLock()
    assert lock.acquire(0)

    late = lock.acquire(0.01)
    lock.release()

    assert (late, lock.acquire(0)) == (False, True)


def test_a_wait_that_takes_too_long_is_a_source_that_is_unavailable() -> None:
    with alone("backend a", 1), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: alone("backend b", 0.01).__enter__())

        with pytest.raises(BackendUnavailable, match=r"backend b: another request"):
            waiting.result()


def test_a_block_within_a_block_of_the_same_request_runs_at_once() -> None:
    with alone("a", 0.01), alone("b", 0.01) as turn:
        assert not turn.outlasts_check


def test_a_turn_ends_when_its_block_raises() -> None:
    with pytest.raises(ZeroDivisionError), alone("a", 0.01):
        _ = 1 / 0

    with alone("b", 0.01):
        pass


@pytest.mark.parametrize(("keeps", "free"), [(True, False), (False, True)])
def test_a_turn_that_is_kept_lasts_until_the_answer(keeps: bool, free: bool) -> None:
    def is_free() -> bool:
        try:
            with alone("other", 0.01):
                return True
        except BackendUnavailable:
            return False

    with ThreadPoolExecutor(1) as pool:
        with until_answered():
            with alone("mine", 0.01) as turn:
                if keeps:
                    turn.keep()
            during = pool.submit(is_free).result()
        after = pool.submit(is_free).result()

    assert (during, after) == (free, True)

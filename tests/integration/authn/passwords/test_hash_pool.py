"""The pool for password checks: bounded, fair, alive after a fork."""

# A unit test may look inside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from compat_auth.authn.passwords.hash_pool import NICENESS, HashPool
from compat_auth.config import parse_settings
from compat_auth.errors import Overloaded

PATIENCE_S = 10


class Floodgate:
    """A pool of one thread, held until opened, and callers who wait for it."""

    def __init__(self, *, max_waiting: int) -> None:
        self.pool = HashPool(1, max_waiting=max_waiting)
        self.order: list[str] = []
        self._opened = threading.Event()
        self._callers: list[threading.Thread] = []
        started = threading.Event()

        def hold() -> None:
            started.set()
            self._opened.wait(PATIENCE_S)

        self.send("holder", "holder", hold, started=started)

    def send(
        self,
        client: str,
        label: str,
        check: Callable[[], None] = lambda: None,
        started: threading.Event | None = None,
    ) -> Future[object]:
        """Start a caller and return once it waits, is at work, or has been refused."""
        answer: Future[object] = Future()

        def checked() -> None:
            check()
            self.order.append(label)

        def call() -> None:
            try:
                self.pool.run(checked, client=client)
                answer.set_result(None)
            except Overloaded as exc:
                answer.set_exception(exc)

        arrived = self.arrivals
        caller = threading.Thread(target=call)
        self._callers.append(caller)
        caller.start()
        while (self.arrivals == arrived and not answer.done()) if started is None else not started.is_set():
            threading.Event().wait(0.001)
        return answer

    @property
    def arrivals(self) -> tuple[str, ...]:
        """Who waits, so that a caller's arrival can be awaited even when another is refused for it."""
        with self.pool._changed:
            return tuple(client for client, queue in self.pool._queues.items() for _ in queue)

    def open(self) -> list[str]:
        self._opened.set()
        for caller in self._callers:
            caller.join(PATIENCE_S)
        return self.order


def test_a_check_gives_its_answer_or_its_error_to_the_caller() -> None:
    pool = HashPool(2, max_waiting=1)

    assert pool.run(lambda: 42, client="a") == 42
    with pytest.raises(ZeroDivisionError):
        pool.run(lambda: 1 // 0, client="a")
    assert (pool.running, pool.waiting) == (0, 0)


def test_no_more_checks_run_at_once_than_the_size() -> None:
    pool = HashPool(2, max_waiting=100)
    at_once: list[int] = []

    def check() -> None:
        at_once.append(pool.running)
        threading.Event().wait(0.01)

    callers = [threading.Thread(target=pool.run, args=(check,), kwargs={"client": "a"}) for _ in range(20)]

    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(PATIENCE_S)

    assert len(at_once) == 20
    assert max(at_once) == 2


def test_a_cold_login_comes_right_after_the_check_at_hand_however_long_the_flood() -> None:
    gate = Floodgate(max_waiting=50)
    for number in range(10):
        gate.send("flood", f"flood-{number}")

    gate.send("victim", "victim")
    order = gate.open()

    assert order.index("victim") <= 2
    assert len(order) == 12


def test_when_the_queue_is_full_the_newest_of_the_longest_queue_makes_room_for_another_client() -> None:
    gate = Floodgate(max_waiting=3)
    flood = [gate.send("flood", f"flood-{number}") for number in range(3)]

    victim = gate.send("victim", "victim")
    order = gate.open()

    assert victim.exception(PATIENCE_S) is None
    assert [type(answer.exception(PATIENCE_S)) for answer in flood] == [type(None), type(None), Overloaded]
    assert "victim" in order


def test_when_the_queue_is_full_the_client_that_filled_it_is_refused() -> None:
    gate = Floodgate(max_waiting=2)
    for number in range(2):
        gate.send("flood", f"flood-{number}")

    refused = gate.send("flood", "one-more")

    assert isinstance(refused.exception(PATIENCE_S), Overloaded)
    assert gate.open() == ["holder", "flood-0", "flood-1"]


def test_a_full_queue_of_many_clients_refuses_the_newcomer_with_503_and_retry_after() -> None:
    gate = Floodgate(max_waiting=2)
    gate.send("a", "a")
    gate.send("b", "b")

    error = gate.send("c", "c").exception(PATIENCE_S)
    gate.open()

    assert isinstance(error, Overloaded)
    assert (error.status, error.retry_after_s) == (503, 1)


def test_checks_run_at_a_lower_priority_than_the_caller() -> None:
    pool = HashPool(1, max_waiting=1)

    inside = pool.run(lambda: os.getpriority(os.PRIO_PROCESS, 0), client="a")

    # There is nothing below 19 (nice(2)), where the whole run may be.
    assert inside == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")  # forking is what is tested
def test_a_forked_child_has_threads_of_its_own() -> None:
    pool = HashPool(1, max_waiting=1)
    pool.run(lambda: None, client="a")

    child = os.fork()
    if child == 0:
        os._exit(pool.run(lambda: 7, client="a"))
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 7
    assert pool.run(lambda: 8, client="a") == 8


@pytest.mark.parametrize(
    ("max_hashes", "workers", "size"),
    [(8, 1, 8), (8, 2, 4), (8, 3, 2), (1, 4, 1), (0, 1, os.cpu_count()), (0, 64, 1)],
)
def test_the_workers_share_the_hashes(max_hashes: int, workers: int, size: int) -> None:
    content = {"basic_auth": {"max_hashes": max_hashes}, "serve": {"workers": workers}}

    pool = HashPool.from_settings(parse_settings(content, origin="test"))

    assert pool._size == size

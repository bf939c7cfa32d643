"""Short work for which an event loop waits."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Iterator

import pytest

from compat_auth.concurrency import brief_work
from compat_auth.concurrency.brief_work import ALLOWED_AT_ONCE_S, DEADLINE_S, FREE_S, SHORT_S, BriefWork, Pace
from compat_auth.concurrency.current_request import REQUEST_ID

FAR_S = 10


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def brief() -> Iterator[BriefWork]:
    made = BriefWork("brief-test")
    yield made
    made.close()


def short() -> Pace:
    pace = Pace()
    for _ in range(5):
        pace.note(SHORT_S / 20)
    return pace


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    # A busy machine may take long for the shortest work.
    monkeypatch.setattr(brief_work, "DEADLINE_S", FAR_S)


@pytest.mark.usefixtures("patient")
def test_short_work_is_done_at_once_on_another_thread(brief: BriefWork) -> None:
    threads: list[int] = []

    job = brief.start(lambda: threads.append(threading.get_ident()), short())

    assert job.is_done
    assert threads
    assert threads != [threading.get_ident()]


@pytest.mark.usefixtures("patient")
def test_an_error_is_raised_to_the_one_who_waits(brief: BriefWork) -> None:
    def fail() -> None:
        raise ValueError("of the work")

    job = brief.start(fail, short())

    with pytest.raises(ValueError, match="of the work"):
        job.result()


@pytest.mark.usefixtures("patient")
def test_work_sees_no_context_variable_of_another_and_leaves_none(brief: BriefWork) -> None:
    variable = contextvars.ContextVar("variable", default="nobody")
    variable.set("the event loop")
    pace = short()

    first = brief.start(lambda: (variable.get(), variable.set("first"))[0], pace).result()
    second = brief.start(variable.get, pace).result()

    assert (first, second, variable.get()) == ("nobody", "nobody", "the event loop")


@pytest.mark.usefixtures("patient")
def test_work_knows_the_id_of_the_request(brief: BriefWork) -> None:
    token = REQUEST_ID.set("request 1")

    found = brief.start(REQUEST_ID.get, short()).result()
    REQUEST_ID.reset(token)

    assert found == "request 1"


async def test_work_that_hangs_does_not_hold_the_event_loop(brief: BriefWork) -> None:
    go = threading.Event()
    began = time.monotonic()

    job = brief.start(lambda: go.wait(FAR_S), short())
    waited_s = time.monotonic() - began
    was_done = job.is_done
    late = asyncio.ensure_future(job.late())
    await asyncio.sleep(0.01)
    go.set()

    assert not was_done
    assert DEADLINE_S <= waited_s < FAR_S / 2
    assert await late is True


async def test_an_error_after_the_deadline_is_raised_to_the_one_who_waits(brief: BriefWork) -> None:
    go = threading.Event()

    def fail() -> None:
        go.wait(FAR_S)
        raise ValueError("too late")

    job = brief.start(fail, short())
    go.set()

    with pytest.raises(ValueError, match="too late"):
        await job.late()


async def test_work_that_ends_between_two_looks_is_not_waited_for_in_vain(brief: BriefWork) -> None:
    go = threading.Event()
    job = brief.start(lambda: go.wait(FAR_S), short())

    go.set()
    assert await asyncio.to_thread(job.wait, FAR_S)

    assert await asyncio.wait_for(job.late(), FAR_S) is True


async def test_while_work_hangs_nobody_waits_for_more(brief: BriefWork) -> None:
    go, pace = threading.Event(), short()

    job = brief.start(lambda: go.wait(FAR_S), pace)
    during = brief.takes(short())
    go.set()
    await job.late()

    assert (during, brief.takes(short())) == (False, True)


def test_a_loop_that_has_ended_is_not_woken(brief: BriefWork) -> None:
    go = threading.Event()

    async def leave() -> None:
        job = brief.start(lambda: go.wait(FAR_S), short())
        task = asyncio.ensure_future(job.late())
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    go.set()

    assert brief.start(lambda: 1, short()).wait(FAR_S)


def test_nothing_is_waited_for_before_it_was_short_elsewhere() -> None:
    pace = Pace()

    before = pace.is_short
    pace.measured(lambda: None)()
    after = pace.is_short

    assert (before, after) == (False, True)


def test_work_that_is_typically_slow_is_not_waited_for(brief: BriefWork) -> None:
    pace = short()

    for _ in range(100):
        pace.note(SHORT_S * 50)
    slow = brief.takes(pace)
    for _ in range(100):
        pace.note(SHORT_S / 2)

    assert (slow, brief.takes(pace)) == (False, True)


def test_a_few_that_are_late_do_not_make_work_slow() -> None:
    pace = short()

    for number in range(200):
        pace.note(1.0 if number % 5 == 0 else SHORT_S / 4)

    assert pace.is_short


def test_work_that_fails_is_measured_too() -> None:
    pace = Pace()

    def fail() -> None:
        raise ValueError("quickly")

    with pytest.raises(ValueError, match="quickly"):
        pace.measured(fail)()

    assert pace.is_short


def test_waits_cost_the_event_loop_no_more_than_their_allowance() -> None:
    clock = Clock()
    brief = BriefWork("brief-test", clock)

    def slow() -> None:
        clock.time += 2 * FREE_S

    waited = 0
    while brief.takes(short()) and waited < 1000:
        brief.start(slow, short()).wait(FAR_S)
        waited += 1
    clock.time += 1
    again = brief.takes(short())
    brief.close()

    assert waited <= 2 * ALLOWED_AT_ONCE_S / FREE_S
    assert again


def test_short_waits_are_free() -> None:
    clock = Clock()
    brief = BriefWork("brief-test", clock)

    def quick() -> None:
        clock.time += FREE_S / 2

    for _ in range(200):
        assert brief.takes(short())
        brief.start(quick, short()).wait(FAR_S)

    assert brief.takes(short())
    brief.close()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("wait_s", [0.0005, 0.001, 0.0024, 0.005])
def test_work_that_waits_for_others_has_a_tenth_of_the_time(wait_s: float) -> None:
    clock, processor = Clock(), Clock()
    brief = BriefWork("brief-test", clock, processor)
    pace, waited_s = short(), 0.0

    def wait() -> None:
        clock.time += wait_s

    began = clock.time
    while clock.time < began + 10:
        if brief.takes(pace):
            brief.start(wait, short()).wait(FAR_S)
            waited_s += wait_s
        else:
            clock.time += 0.001
    brief.close()

    assert waited_s <= 10 * 0.15


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("computed_s", "is_free"), [(0.0009, True), (0.0024, False)])
def test_work_that_computes_is_free_for_up_to_a_millisecond(computed_s: float, is_free: bool) -> None:
    clock, processor = Clock(), Clock()
    brief = BriefWork("brief-test", clock, processor)

    def compute() -> None:
        clock.time += computed_s
        processor.time += computed_s

    taken = 0
    while taken < 1000 and brief.takes(short()):
        brief.start(compute, short()).wait(FAR_S)
        taken += 1
    brief.close()

    assert (taken == 1000) is is_free


@pytest.mark.usefixtures("patient")
def test_the_time_of_the_processor_is_that_of_the_work_alone(brief: BriefWork) -> None:
    def compute() -> None:
        until = time.thread_time() + 0.002
        while time.thread_time() < until:
            pass

    computing = brief.start(compute, short())
    waiting = brief.start(lambda: threading.Event().wait(0.05), short())

    assert computing.computed_s >= 0.002
    assert waiting.computed_s < 0.05


def test_nothing_is_taken_after_the_end(brief: BriefWork) -> None:
    job = brief.start(lambda: 1, short())

    brief.close()

    assert job.wait(FAR_S) or job.is_done
    assert not brief.takes(short())

"""Counting by the minute."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from compat_auth.concurrency.rate_limit import RateLimit, Tries, network_of, share_of
from compat_auth.errors import TooManyRequests
from support.stand_ins import Clock


def test_there_is_enough_after_so_many_and_then_no_more_is_counted() -> None:
    tally = RateLimit(2)

    counted = [tally.count("a"), tally.count("a"), tally.count("a"), tally.count("b")]

    assert counted == [True, True, False, True]
    assert 50 < tally.wait_s("a") <= 60
    assert tally.wait_s("b") == tally.wait_s("c") == 0


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_a_client_is_an_address_or_a_customers_network(client: str, network: str) -> None:
    assert network_of(client) == network


def test_what_is_given_back_can_be_counted_again() -> None:
    tally = RateLimit(1)
    tally.count("a")

    tally.give_back("a")
    tally.give_back("b")

    assert tally.count("a")
    assert not tally.count("a")


def test_a_count_ends_after_a_minute() -> None:
    clock = Clock()
    tally = RateLimit(2, clock)
    for _ in range(2):
        tally.count("a")

    clock.time += 59
    before = tally.wait_s("a")
    clock.time += 1
    after = tally.wait_s("a")

    assert (before, after) == (1, 0)


def test_keys_without_end_take_no_memory_without_end() -> None:
    tally = RateLimit(1)

    for number in range(60_000):
        tally.count(str(number))

    assert len(tally._counted) == 50_000


async def test_of_tries_at_once_no_more_are_looked_at_than_may_fail() -> None:
    tries, looked_at = Tries(20, "too many"), 0

    async def guess() -> int:
        nonlocal looked_at
        async with tries.one_async("a") as tried:
            looked_at += 1
            await asyncio.sleep(0.01)
            tried.failed = True
            return 401

    answers = await asyncio.gather(*(guess() for _ in range(150)), return_exceptions=True)

    assert looked_at == answers.count(401) == 20
    assert sum(isinstance(answer, TooManyRequests) for answer in answers) == 130


async def test_right_tries_at_once_are_all_looked_at() -> None:
    tries, at_once, most = Tries(5, "too many"), 0, 0

    async def log_in() -> int:
        nonlocal at_once, most
        async with tries.one_async("a"):
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.001)
            at_once -= 1
            return 200

    answers = await asyncio.gather(*(log_in() for _ in range(60)))

    assert answers == [200] * 60
    assert most == 5


def test_threads_keep_the_same_bound() -> None:
    tries, looked_at = Tries(5, "too many"), list[int]()

    def guess(number: int) -> int:
        try:
            with tries.one("a") as tried:
                looked_at.append(number)
                time.sleep(0.01)
                tried.failed = True
        except TooManyRequests:
            return 429
        return 401

    with ThreadPoolExecutor(40) as threads:
        answers = list(threads.map(guess, range(40)))

    assert len(looked_at) == answers.count(401) == 5
    assert answers.count(429) == 35


async def test_a_try_that_is_broken_off_gives_its_place_back() -> None:
    tries = Tries(1, "too many")

    async def stay() -> None:
        async with tries.one_async("a"):
            await asyncio.sleep(60)

    staying = asyncio.ensure_future(stay())
    await asyncio.sleep(0.01)
    staying.cancel()
    async with tries.one_async("a") as tried:
        pass

    assert not tried.failed
    assert tries._open == tries._waiting == {}


async def test_those_who_wait_are_not_without_end() -> None:
    tries = Tries(1, "too many")

    async def stay() -> int:
        async with tries.one_async("a"):
            await asyncio.sleep(0.5)
            return 200

    staying = [asyncio.ensure_future(stay()) for _ in range(400)]
    await asyncio.sleep(0.1)
    refused = sum(one.done() and isinstance(one.exception(), TooManyRequests) for one in staying)
    for one in staying:
        one.cancel()

    assert refused == 400 - 1 - 256


@pytest.mark.parametrize(("enough", "workers", "share"), [(20, 1, 20), (20, 3, 7), (20, 64, 1), (1, 4, 1)])
def test_workers_share_a_bound(enough: int, workers: int, share: int) -> None:
    assert share_of(enough, workers) == share

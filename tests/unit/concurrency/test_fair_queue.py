"""Who may go next."""

from __future__ import annotations

import asyncio

import pytest

from compat_auth.concurrency.fair_queue import FairQueue
from compat_auth.errors import Overloaded


async def hold(turns: FairQueue, client: str, release: asyncio.Event, running: list[str]) -> None:
    async with turns.take(client):
        running.append(client)
        await release.wait()


async def test_one_client_leaves_a_quarter_of_the_places_to_others() -> None:
    turns, release = FairQueue(4, 8), asyncio.Event()
    running: list[str] = []

    flood = [asyncio.create_task(hold(turns, "flood", release, running)) for _ in range(6)]
    await asyncio.sleep(0)
    other = asyncio.create_task(hold(turns, "other", release, running))
    await asyncio.sleep(0)

    assert running == ["flood"] * 3 + ["other"]
    release.set()
    await asyncio.gather(*flood, other)


async def test_one_client_is_refused_before_it_takes_all_the_room_to_wait() -> None:
    turns, release = FairQueue(4, 8), asyncio.Event()
    running: list[str] = []
    flood = [asyncio.create_task(hold(turns, "flood", release, running)) for _ in range(7)]
    await asyncio.sleep(0)

    with pytest.raises(Overloaded):
        await hold(turns, "flood", release, running)

    release.set()
    await asyncio.gather(*flood, hold(turns, "other", release, running))
    assert "other" in running


async def test_all_clients_together_are_bounded() -> None:
    turns, release = FairQueue(1, 2), asyncio.Event()
    waiting = [asyncio.create_task(hold(turns, str(number), release, [])) for number in range(3)]
    await asyncio.sleep(0)

    with pytest.raises(Overloaded):
        await hold(turns, "one more", release, [])

    release.set()
    await asyncio.gather(*waiting)


async def test_a_client_that_has_gone_leaves_nothing_behind() -> None:
    turns, release = FairQueue(1, 1), asyncio.Event()
    task = asyncio.create_task(hold(turns, "brief", release, []))
    await asyncio.sleep(0)

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    release.set()
    for _ in range(5):
        await hold(turns, "brief", release, [])
    assert vars(turns)["_lines"] == {}

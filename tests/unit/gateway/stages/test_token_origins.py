"""Where tokens came from: what is remembered, and how many look-ups anybody can cause."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from compat_auth.errors import BackendUnavailable, Overloaded
from compat_auth.gateway.stages.token_origins import TokenOrigins
from compat_auth.tokens.issued import TokenOrigin

ALICE = TokenOrigin("alice", ("basic_auth",))
CLIENT = "192.0.2.1"


class Store:
    """Knows the tokens of alice; each look-up waits until the test opens it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.opened = threading.Event()
        self.is_away = False

    def find(self, token: str) -> TokenOrigin | None:
        self.asked.append(token)
        self.opened.wait(10)
        if self.is_away:
            raise BackendUnavailable("away")
        return ALICE if token.startswith("alice") else None


async def until(condition: Callable[[], bool]) -> None:
    """Return once the condition is met."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # the condition is about another thread, too
            await asyncio.sleep(0)


async def test_invented_tokens_do_not_displace_those_with_an_origin() -> None:
    store = Store()
    store.opened.set()
    origins = TokenOrigins(store.find, entries=2, unknown=2)

    first = await origins.find("alice", CLIENT)
    for number in range(5):
        await origins.find(f"invented-{number}", CLIENT)

    assert (first, origins.recall("alice")) == (ALICE, (ALICE,))
    assert [origins.recall(f"invented-{number}") for number in (0, 3, 4)] == [None, (None,), (None,)]


async def test_one_token_is_looked_up_once_at_a_time() -> None:
    store = Store()
    origins = TokenOrigins(store.find)

    waiting = [asyncio.ensure_future(origins.find("alice", f"192.0.2.{number}")) for number in range(20)]
    await until(lambda: bool(store.asked))
    store.opened.set()
    found = await asyncio.gather(*waiting)

    assert found == [ALICE] * 20
    assert store.asked == ["alice"]


async def test_a_flood_of_invented_tokens_is_bounded_and_leaves_places_to_other_networks() -> None:
    store = Store()
    origins = TokenOrigins(store.find)

    flood = [asyncio.ensure_future(origins.find(f"invented-{number}", CLIENT)) for number in range(200)]
    await until(lambda: sum(one.done() for one in flood) > 0 and len(store.asked) == 3)
    other = asyncio.ensure_future(origins.find("alice", "198.51.100.1"))
    await until(lambda: "alice" in store.asked)
    asked = len(store.asked)
    store.opened.set()
    answers = await asyncio.gather(*flood, return_exceptions=True)

    assert await other == ALICE
    assert asked == 4
    assert sum(isinstance(answer, Overloaded) for answer in answers) == 200 - 131


async def test_a_store_that_could_not_be_asked_is_asked_again() -> None:
    store = Store()
    store.opened.set()
    store.is_away = True
    origins = TokenOrigins(store.find)

    with pytest.raises(BackendUnavailable):
        await origins.find("alice", CLIENT)
    store.is_away = False

    assert await origins.find("alice", CLIENT) == ALICE


async def test_callers_who_leave_do_not_make_room_for_more_look_ups_at_once() -> None:
    store = Store()
    origins = TokenOrigins(store.find)

    for number in range(12):
        leaving = asyncio.ensure_future(origins.find(f"invented-{number}", f"10.{number}.0.1"))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait((leaving,))
    await until(lambda: len(store.asked) == 4)
    for _ in range(20):
        await asyncio.sleep(0)
    asked = len(store.asked)
    store.opened.set()
    await until(lambda: len(store.asked) == 12)

    assert asked == 4
    assert await origins.find("alice", CLIENT) == ALICE


async def test_a_throttle_knows_a_token_in_every_spelling_of_its_signature() -> None:
    origins = TokenOrigins(Store().find)

    names = {origins.name_of(token) for token in ("a.b.c", "a.b.c==", "a.b.!c")}

    assert len(names) == 1
    assert origins.name_of("a.x.c") not in names


async def test_a_caller_who_leaves_does_not_end_the_look_up_of_another() -> None:
    store = Store()
    origins = TokenOrigins(store.find)

    leaving = asyncio.ensure_future(origins.find("alice", CLIENT))
    staying = asyncio.ensure_future(origins.find("alice", CLIENT))
    await until(lambda: bool(store.asked))
    leaving.cancel()
    await asyncio.sleep(0)
    store.opened.set()

    assert await staying == ALICE
    assert leaving.cancelled()

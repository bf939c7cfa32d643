"""How many connections a worker holds, and which one makes room for another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from compat_auth.gateway.connections import bounds
from compat_auth.gateway.connections.bounds import IDLE_S, STALLED_S, ConnectionBounds


@dataclass(eq=False)
class Held:
    """A connection that remembers whether it had to make room."""

    has_made_room: bool = False

    def make_room(self) -> None:
        self.has_made_room = True


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    bounds: ConnectionBounds
    clock: Clock = field(default_factory=Clock)

    def held(self, address: str, count: int, then: Callable[[Held], None] | None = None) -> list[Held]:
        """Return connections of an address, which have all been admitted."""
        connections = [Held() for _ in range(count)]
        for connection in connections:
            assert self.bounds.admit(connection, address)
            if then is not None:
                then(connection)
        return connections


def world(limit: int = 100, per_address: int = 100, *, proxy: str = "") -> World:
    clock = Clock()
    return World(ConnectionBounds(limit, per_address, is_exempt=lambda address: address == proxy, now=clock), clock)


async def test_one_address_gets_its_share_and_leaves_room_for_others() -> None:
    here = world(limit=10, per_address=5)
    here.held("192.0.2.1", 5, here.bounds.working)

    is_admitted = here.bounds.admit(Held(), "192.0.2.1")

    assert not is_admitted
    here.held("192.0.2.2", 5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("2001:db8::1", "2001:db8::ffff:2", id="one-network"),
        pytest.param("192.0.2.1", "::ffff:192.0.2.1", id="mapped"),
    ],
)
async def test_addresses_of_one_client_are_counted_together(one: str, other: str) -> None:
    here = world(per_address=2)
    here.held(one, 2, here.bounds.working)

    assert not here.bounds.admit(Held(), other)


async def test_two_networks_are_two_clients() -> None:
    here = world(per_address=2)
    here.held("2001:db8::1", 2, here.bounds.working)

    assert here.bounds.admit(Held(), "2001:db8:0:1::1")


async def test_a_trusted_proxy_stands_for_many_clients_and_has_the_bound_of_all() -> None:
    here = world(limit=10, per_address=2, proxy="192.0.2.9")

    here.held("192.0.2.9", 10, here.bounds.working)

    assert not here.bounds.admit(Held(), "192.0.2.9")


async def test_a_connection_that_has_ended_makes_room() -> None:
    here = world(per_address=1)
    (first,) = here.held("192.0.2.1", 1, here.bounds.working)

    here.bounds.leave(first)

    assert here.bounds.admit(Held(), "192.0.2.1")


@pytest.mark.parametrize(("limit", "per_address"), [(3, 100), (100, 3)])
async def test_the_longest_idle_connection_makes_room_first(limit: int, per_address: int) -> None:
    here = world(limit, per_address)
    stalled, idle, idle_later = here.held("192.0.2.1", 3)
    here.clock.now += STALLED_S
    here.bounds.idle(idle)
    here.clock.now += 0.1
    here.bounds.idle(idle_later)
    here.clock.now += IDLE_S

    is_admitted = here.bounds.admit(Held(), "192.0.2.1")

    assert is_admitted
    assert [held.has_made_room for held in (stalled, idle, idle_later)] == [False, True, False]


async def test_without_an_idle_one_a_request_that_does_not_come_on_makes_room() -> None:
    here = world(per_address=2)
    moving, stalled = here.held("192.0.2.1", 2)
    here.clock.now += STALLED_S
    here.bounds.receiving(moving)

    is_admitted = here.bounds.admit(Held(), "192.0.2.1")

    assert is_admitted
    assert (moving.has_made_room, stalled.has_made_room) == (False, True)


async def test_a_connection_whose_request_is_worked_on_never_makes_room() -> None:
    here = world(per_address=1)
    (working,) = here.held("192.0.2.1", 1, here.bounds.working)
    here.clock.now += 1000

    is_admitted = here.bounds.admit(Held(), "192.0.2.1")

    assert not is_admitted
    assert not working.has_made_room


async def test_a_client_does_not_make_room_for_another_at_its_own_bound() -> None:
    here = world(per_address=1)
    (idle,) = here.held("192.0.2.1", 1, here.bounds.idle)
    here.held("192.0.2.2", 1, here.bounds.working)
    here.clock.now += 1000

    is_admitted = here.bounds.admit(Held(), "192.0.2.2")

    assert not is_admitted
    assert not idle.has_made_room


async def test_the_log_says_it_once_and_then_counts(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "REPORT_EVERY_S", 0.01)
    here = world(per_address=1)
    here.held("192.0.2.1", 1, here.bounds.working)

    with caplog.at_level(logging.WARNING, "compat_auth.server"):
        for _ in range(50):
            here.bounds.admit(Held(), "192.0.2.1")
        await asyncio.sleep(0.03)

    first, then = [record.getMessage() for record in caplog.records]
    assert "1 refused, most of them from 192.0.2.1" in first
    assert "49 refused" in then


async def test_a_refused_connection_may_stay_only_while_few_do() -> None:
    here = world()

    answers = [here.bounds.may_linger(Held()) for _ in range(100)]

    assert answers.count(True) < 100
    assert answers[0]

"""Kept connections, and which of several servers to ask."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from compat_auth.errors import BackendUnavailable, Overloaded
from compat_auth_backends.ldap.connection_pool import (
    ALONE_PAUSE_S,
    MAX_AGE_S,
    MAX_IDLE_S,
    REPLACED_PAUSE_S,
    ConnectionPool,
    Lost,
    Servers,
)


class World:
    """Servers a and b, which the test takes down; a clock that stands still."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.down: set[str] = set()
        self.opened: list[str] = []
        self.closed: list[str] = []

    def connect(self, server: str) -> str:
        if server in self.down:
            raise Lost("down")
        self.opened.append(server)
        return server

    def ask(self, connection: str) -> str:
        if connection in self.down:
            raise Lost("broken")
        return connection

    def pool(self, *, size: int = 2) -> ConnectionPool[str]:
        clock: Callable[[], float] = lambda: self.time  # noqa: E731
        return ConnectionPool(
            Servers(("a", "b"), monotonic=clock),
            self.connect,
            self.closed.append,
            size=size,
            wait_s=0.05,
            label="test",
            monotonic=clock,
        )


@pytest.fixture
def world() -> World:
    return World()


def test_a_connection_is_used_again(world: World) -> None:
    pool = world.pool()

    answers = [pool.run(world.ask) for _ in range(3)]

    assert answers == ["a", "a", "a"]
    assert world.opened == ["a"]


@pytest.mark.parametrize("age_s", [MAX_IDLE_S, MAX_AGE_S])
def test_a_connection_that_is_too_old_or_was_idle_for_long_is_not(age_s: float, world: World) -> None:
    pool = world.pool()
    pool.run(world.ask)

    world.time += age_s
    pool.run(world.ask)

    assert world.opened == ["a", "a"]
    assert world.closed == ["a"]


def test_the_next_server_answers_for_one_that_is_lost_until_its_pause_is_over(world: World) -> None:
    pool = world.pool()
    pool.run(world.ask)

    world.down = {"a"}
    first = pool.run(world.ask)
    world.down = set()
    pool.close()
    second = pool.run(world.ask)
    pool.close()
    world.time += REPLACED_PAUSE_S
    third = pool.run(world.ask)

    assert [first, second, third] == ["b", "b", "a"]


def test_the_first_server_is_asked_again_when_the_second_fails_too(world: World) -> None:
    pool = world.pool()
    world.down = {"a"}
    pool.run(world.ask)

    world.time += ALONE_PAUSE_S
    world.down = {"b"}

    assert pool.run(world.ask) == "a"


def test_when_all_are_lost_nobody_waits_for_them_again_before_the_pause_is_over(world: World) -> None:
    pool = world.pool()
    world.down = {"a", "b"}
    with pytest.raises(BackendUnavailable, match="a: down; b: down"):
        pool.run(world.ask)
    world.down = set()

    with pytest.raises(BackendUnavailable, match="tried a moment ago"):
        pool.run(world.ask)
    world.time += ALONE_PAUSE_S

    assert pool.run(world.ask) == "a"


def test_a_server_whose_pause_is_over_is_handed_to_one_caller_only(world: World) -> None:
    servers = Servers(("a",), monotonic=lambda: world.time)
    servers.failed("a")
    world.time += ALONE_PAUSE_S

    assert servers.choose(()) == "a"
    assert servers.choose(()) is None


def test_servers_that_take_connections_but_break_every_one_are_not_tried_without_end(world: World) -> None:
    pool = world.pool()
    asked: list[str] = []

    def break_it(connection: str) -> str:
        asked.append(connection)
        world.time += REPLACED_PAUSE_S
        raise Lost("broken")

    with pytest.raises(BackendUnavailable, match="broken"):
        pool.run(break_it)

    assert len(asked) == 4


def test_after_an_error_of_another_kind_the_connection_is_closed(world: World) -> None:
    pool = world.pool()

    def fail(_connection: str) -> str:
        raise ValueError

    with pytest.raises(ValueError):
        pool.run(fail)

    assert world.closed == ["a"]
    assert pool.run(world.ask) == "a"


def test_no_more_connections_than_allowed_and_the_place_is_free_again(world: World) -> None:
    pool = world.pool(size=1)
    taken, done = threading.Event(), threading.Event()

    def hold(connection: str) -> str:
        taken.set()
        done.wait(10)
        return connection

    holder = threading.Thread(target=pool.run, args=(hold,))
    holder.start()
    taken.wait(10)
    with pytest.raises(Overloaded, match="all 1 connections"):
        pool.run(world.ask)
    done.set()
    holder.join(10)

    assert pool.run(world.ask) == "a"

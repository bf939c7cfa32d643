"""The cache of upstream tokens."""

from __future__ import annotations

import threading

import pytest

from compat_auth.errors import BackendUnavailable
from compat_auth.identity import Token
from compat_auth.tokens.cache import TokenCache
from support.stand_ins import Clock


class Making:
    """Makes a token of this lifetime, a new one each time, or fails."""

    def __init__(self, clock: Clock, lifetime_s: int = 600) -> None:
        self.clock = clock
        self.lifetime_s = lifetime_s
        self.made = 0
        self.fails = False

    def __call__(self) -> Token:
        self.made += 1
        if self.fails:
            raise BackendUnavailable("upstream")
        return Token(f"{self.made}", int(self.clock.time) + self.lifetime_s)


def obtain(cache: TokenCache, make: Making, key: str = "alice", *, fresh: bool = False) -> str:
    return cache.obtain(key, make, fresh=fresh).value


@pytest.mark.parametrize(("lifetime_s", "used_s"), [(600, 540), (10_000, 9_940), (100, 90), (10, 9)])
def test_a_token_is_used_until_a_minute_or_a_tenth_before_its_end(lifetime_s: int, used_s: int) -> None:
    clock = Clock()
    cache, make = TokenCache(10, clock), Making(clock, lifetime_s)
    first = obtain(cache, make)

    clock.time += used_s - 0.5
    again = obtain(cache, make)
    clock.time += 0.5
    later = obtain(cache, make)

    assert (first, again, later) == ("1", "1", "2")


def test_each_key_has_a_token_of_its_own() -> None:
    clock = Clock()
    cache, make = TokenCache(10, clock), Making(clock)

    assert [obtain(cache, make, key) for key in ("alice", "bob", "alice", "bob")] == ["1", "2", "1", "2"]


def test_a_token_that_was_refused_is_replaced_for_all() -> None:
    clock = Clock()
    cache, make = TokenCache(10, clock), Making(clock)

    assert obtain(cache, make) == "1"
    assert obtain(cache, make, fresh=True) == "2"
    assert obtain(cache, make) == "2"


def test_a_token_that_was_refused_does_not_come_back_because_no_other_could_be_made() -> None:
    clock = Clock()
    cache, make = TokenCache(10, clock), Making(clock)
    obtain(cache, make)
    make.fails = True
    with pytest.raises(BackendUnavailable):
        obtain(cache, make, fresh=True)
    make.fails = False

    assert obtain(cache, make) == "3"


def test_a_failure_is_not_remembered() -> None:
    clock = Clock()
    cache, make = TokenCache(10, clock), Making(clock)
    make.fails = True
    with pytest.raises(BackendUnavailable):
        obtain(cache, make)
    make.fails = False

    assert obtain(cache, make) == "2"


def test_a_token_at_hand_does_not_wait_for_the_one_that_replaces_it() -> None:
    clock, begun, go = Clock(), threading.Event(), threading.Event()
    cache, make = TokenCache(10, clock), Making(clock)
    obtain(cache, make)

    def slowly() -> Token:
        begun.set()
        assert go.wait(5)
        return make()

    replacing = threading.Thread(target=lambda: cache.obtain("alice", slowly, fresh=True))
    replacing.start()
    assert begun.wait(5)
    at_hand = obtain(cache, make)
    go.set()
    replacing.join()

    assert (at_hand, obtain(cache, make)) == ("1", "2")


def test_tokens_are_remembered_up_to_a_bound() -> None:
    clock = Clock()
    cache, make = TokenCache(2, clock), Making(clock)

    assert [obtain(cache, make, key) for key in "abcac"] == ["1", "2", "3", "4", "3"]

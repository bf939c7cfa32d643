"""Credentials that were checked a moment ago."""

from __future__ import annotations

import pytest

from compat_auth.authn.grant_cache import GrantCache
from support.stand_ins import Clock


def test_a_grant_is_found_until_its_end_and_not_at_it() -> None:
    clock = Clock()
    verified: GrantCache[str] = GrantCache(10, clock)
    digest = verified.digest(b"Basic YTpi")
    verified.remember(digest, "grant", 60)

    clock.time += 59.9
    before = verified.find(digest)
    clock.time += 0.1
    at_the_end = verified.find(digest)

    assert before is not None
    assert before.grant == "grant"
    assert at_the_end is None
    assert len(verified) == 0


def test_a_hit_goes_stale_at_three_quarters_of_its_time() -> None:
    clock = Clock()
    verified: GrantCache[str] = GrantCache(10, clock)
    verified.remember(b"d", "grant", 60)
    remembered = verified.find(b"d")
    assert remembered is not None

    fresh = verified.is_stale(remembered)
    clock.time += 45
    stale = verified.is_stale(remembered)
    remembered.refreshing = True

    assert (fresh, stale, verified.is_stale(remembered)) == (False, True, False)


@pytest.mark.parametrize("for_s", [0, -5])
def test_what_may_not_be_reused_replaces_what_was_kept(for_s: float) -> None:
    verified: GrantCache[str] = GrantCache(10)
    verified.remember(b"d", "old", 60)

    verified.remember(b"d", "new", for_s)

    assert verified.find(b"d") is None


def test_the_oldest_goes_first_when_there_is_no_room() -> None:
    verified: GrantCache[str] = GrantCache(2)
    for digest in (b"1", b"2", b"3"):
        verified.remember(digest, "grant", 60)

    assert verified.find(b"1") is None
    assert verified.find(b"3") is not None
    assert len(verified) == 2


def test_a_forgotten_grant_is_gone_and_forgetting_twice_is_harmless() -> None:
    verified: GrantCache[str] = GrantCache(2)
    verified.remember(b"d", "grant", 60)

    verified.forget(b"d")
    verified.forget(b"d")

    assert verified.find(b"d") is None


def test_a_digest_binds_each_part_to_its_length() -> None:
    verified: GrantCache[str] = GrantCache(1)

    digests = {verified.digest(b"ab", b"c"), verified.digest(b"a", b"bc"), verified.digest(b"abc")}

    assert len(digests) == 3


def test_another_process_has_other_digests() -> None:
    one: GrantCache[str] = GrantCache(1)
    other: GrantCache[str] = GrantCache(1)

    assert one.digest(b"Basic YTpi") != other.digest(b"Basic YTpi")


def test_the_credential_itself_is_not_in_the_memory() -> None:
    verified: GrantCache[str] = GrantCache(1)
    verified.remember(verified.digest(b"hunter2"), "grant", 60)

    assert "hunter2" not in repr(vars(verified))


def test_an_owner_of_many_credentials_pushes_out_only_its_own() -> None:
    verified: GrantCache[str] = GrantCache(10)
    for name in ("anna", "bert", "carl"):
        verified.remember(name.encode(), "grant", 60, owner=name)

    for number in range(1000):
        verified.remember(b"mallory %d" % number, "grant", 60, owner="mallory")

    assert all(verified.find(name) is not None for name in (b"anna", b"bert", b"carl"))
    assert verified.find(b"mallory 999") is not None
    assert len(verified) == 10


def test_a_newcomer_takes_the_place_of_the_owner_who_has_most() -> None:
    verified: GrantCache[str] = GrantCache(4)
    verified.remember(b"anna", "grant", 60, owner="anna")
    for number in range(3):
        verified.remember(b"mallory %d" % number, "grant", 60, owner="mallory")

    verified.remember(b"bert", "grant", 60, owner="bert")

    assert verified.find(b"anna") is not None
    assert verified.find(b"bert") is not None
    assert verified.find(b"mallory 0") is None


def test_what_is_forgotten_no_longer_counts_for_its_owner() -> None:
    verified: GrantCache[str] = GrantCache(3)
    verified.remember(b"anna", "grant", 60, owner="anna")
    for number in range(100):
        verified.remember(b"bert %d" % number, "grant", 60, owner="bert")
        verified.forget(b"bert %d" % number)

    verified.forget_those(lambda grant: grant == "grant")

    assert len(verified) == 0
    assert not verified._owned

"""Credentials that were checked a moment ago."""

from __future__ import annotations

import random

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

    verified.forget(b"anna")

    assert len(verified) == 0
    assert not verified._owners


@pytest.mark.parametrize("owners", [1, 3], ids=["of-one-owner", "of-an-owner-each"])
def test_what_is_used_most_is_not_pushed_out(owners: int) -> None:
    clock = Clock()
    verified: GrantCache[str] = GrantCache(3, clock)
    verified.remember(b"busy", "grant", 1000, owner="0")

    for number in range(100):
        clock.time += 1
        verified.remember(b"%d" % number, "grant", 1000, owner=str(number % owners if owners == 1 else number + 1))
        assert verified.find(b"busy") is not None

    assert len(verified) == 3


def test_what_was_used_longest_ago_goes_first() -> None:
    clock = Clock()
    verified: GrantCache[str] = GrantCache(3, clock)
    for name in "abc":
        verified.remember(name.encode(), "grant", 60, owner=name)
    clock.time += 2
    verified.find(b"a")
    clock.time += 2
    verified.find(b"c")

    verified.remember(b"d", "grant", 60, owner="d")
    verified.remember(b"e", "grant", 60, owner="e")

    assert [name for name in "abcde" if verified.find(name.encode())] == ["c", "d", "e"]


@pytest.mark.parametrize("spelling", ["straße", "STRASSE"])
def test_a_revocation_of_an_owner_ends_every_grant_however_the_name_is_spelled(spelling: str) -> None:
    verified: GrantCache[str] = GrantCache(10)
    for number, owner in enumerate(("Straße", "STRASSE", "other")):
        verified.remember(b"%d" % number, "grant", 60, owner=owner)

    verified.forget_owner(spelling)

    assert [verified.find(b"%d" % number) is None for number in range(3)] == [True, True, False]


def test_a_revocation_of_a_credential_ends_its_grants_and_no_other() -> None:
    verified: GrantCache[str] = GrantCache(10)
    verified.remember(b"bearer", "grant", 60, owner="anna", credential_id="token:1")
    verified.remember(b"basic", "grant", 60, owner="anna", credential_id="token:1")
    verified.remember(b"other", "grant", 60, owner="anna", credential_id="token:2")

    verified.forget_credential("token:1")
    verified.forget_credential("token:3")

    assert [verified.find(digest) is None for digest in (b"bearer", b"basic", b"other")] == [True, True, False]


def test_where_a_revocation_may_have_been_missed_only_revocable_grants_end() -> None:
    verified: GrantCache[str] = GrantCache(10)
    verified.remember(b"password", "grant", 60, owner="anna")
    verified.remember(b"token", "grant", 60, owner="anna", credential_id="token:1")

    verified.forget_revocable()
    verified.remember(b"later", "grant", 60, owner="anna", credential_id="token:1")

    assert verified.find(b"token") is None
    assert verified.find(b"password") is not None
    assert verified.find(b"later") is not None


def test_a_grant_after_a_revocation_counts() -> None:
    verified: GrantCache[str] = GrantCache(10)
    verified.remember(b"d", "before", 60, owner="anna", credential_id="token:1")
    verified.forget_owner("anna")
    verified.forget_credential("token:1")

    verified.remember(b"d", "after", 60, owner="anna", credential_id="token:1")

    found = verified.find(b"d")
    assert found is not None
    assert found.grant == "after"


def test_a_revocation_touches_no_grant_and_later_grants_drop_the_revoked_ones() -> None:
    verified: GrantCache[int] = GrantCache(100_000)
    for number in range(50_000):
        verified.remember(b"%d" % number, number, 60, owner="mallory", credential_id="session:1")

    verified.forget_credential("session:1")
    verified.forget_owner("Mallory")
    untouched = len(verified)
    for number in range(7_500):
        verified.remember(b"new %d" % number, number, 60, owner="anna")

    assert untouched == 50_000
    assert len(verified) == 7_500
    assert not verified._revoked
    assert not verified._credentials
    assert set(verified._owners) == {"anna"}


def test_revoked_grants_make_room_before_any_other_goes() -> None:
    verified: GrantCache[str] = GrantCache(4)
    verified.remember(b"anna", "grant", 60, owner="anna")
    for number in range(3):
        verified.remember(b"mallory %d" % number, "grant", 60, owner="mallory", credential_id="session:1")
    verified.forget_credential("session:1")

    for name in ("bert", "carl", "dora"):
        verified.remember(name.encode(), "grant", 60, owner=name)

    assert all(verified.find(name) for name in (b"anna", b"bert", b"carl", b"dora"))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_the_memory_is_bounded_and_shows_nothing_revoked(seed: int) -> None:
    chance, clock = random.Random(seed), Clock()  # noqa: S311  # the same course in each run
    verified: GrantCache[tuple[str, str, int]] = GrantCache(12, clock)
    ended: set[tuple[str, str, int]] = set()
    shown: dict[bytes, tuple[str, str, int]] = {}
    for step in range(2_000):
        clock.time += chance.random()
        digest, owner, credential = b"%d" % chance.randrange(30), f"u{chance.randrange(5)}", f"c{chance.randrange(4)}"
        match chance.randrange(8):
            case 0 | 1 | 2:
                shown[digest] = (owner, credential, step)
                verified.remember(digest, shown[digest], 1000, owner=owner, credential_id=credential)
            case 3:
                verified.forget(digest)
                shown.pop(digest, None)
            case 4:
                verified.forget_owner(owner)
                ended |= {grant for grant in shown.values() if grant[0] == owner}
            case 5:
                verified.forget_credential(credential)
                ended |= {grant for grant in shown.values() if grant[1] == credential}
            case 6 if not step % 50:
                verified.forget_revocable()
                ended |= set(shown.values())
            case _:
                found = verified.find(digest)
                assert found is None or (found.grant == shown.get(digest) and found.grant not in ended)
        assert len(verified) <= 12

    listed = [digest for group in verified._owners.values() for digest in group.digests]
    revoked = {digest for group in verified._revoked for digest in group.digests}
    assert set(listed) | revoked == set(verified._remembered)
    richest = max((len(group.digests) for group in verified._owners.values()), default=0)
    assert verified._ranking._most.size == richest

"""What a remote source has said about tokens, and for how long it counts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from compat_auth.concurrency.single_flight import MAX_WAITING
from compat_auth.config import Settings
from compat_auth.crypto.aead import SealedBoxes
from compat_auth.errors import BackendUnavailable, Overloaded
from compat_auth.store.redis.client import RedisConnection
from compat_auth.tokens.introspection_cache import (
    IntrospectionCache,
    IntrospectionResult,
    MemoryIntrospections,
    SharedIntrospections,
    open_introspections,
)
from support.stand_ins import Clock


class Source:
    """Answers with one verdict and counts how often it was asked."""

    def __init__(self, clock: Clock, *, says: str | None = "alice", for_s: float = 600) -> None:
        self.clock = clock
        self.says = says
        self.for_s = for_s
        self.asked = 0

    def __call__(self) -> IntrospectionResult:
        self.asked += 1
        ends_at = self.clock() + self.for_s
        return (
            IntrospectionResult(ends_at, {"sub": self.says}) if self.says else IntrospectionResult(ends_at, None, "no")
        )


@pytest.fixture
def clock() -> Clock:
    return Clock()


def cache(clock: Clock, *, entries: int = 10) -> IntrospectionCache:
    return IntrospectionCache("issuer", MemoryIntrospections(entries), now=clock)


@pytest.mark.parametrize("says", ["alice", None])
def test_a_verdict_counts_until_it_ends(clock: Clock, says: str | None) -> None:
    verdicts, source = cache(clock), Source(clock, says=says)

    for _ in range(3):
        verdicts.introspect("token", source)
    clock.time += 600
    verdicts.introspect("token", source)

    assert source.asked == 2


@pytest.mark.parametrize("says", ["alice", None])
def test_a_verdict_from_a_clock_that_was_ahead_is_not_believed_for_long(clock: Clock, says: str | None) -> None:
    verdicts = IntrospectionCache("issuer", MemoryIntrospections(10), longest_s=600, now=clock)
    source = Source(clock, says=says)
    clock.time += 2 * 86400
    verdicts.introspect("token", source)

    clock.time -= 2 * 86400
    verdicts.introspect("token", source)
    verdicts.introspect("token", source)

    assert source.asked == 2


def test_a_local_logout_outlasts_a_clock_that_was_ahead(clock: Clock) -> None:
    verdicts = cache(clock)
    verdicts.revoke("token", until=clock() + 600, reason="logged out")

    clock.time += 2 * 86400
    verdicts.why_refused("token")
    clock.time -= 2 * 86400

    assert verdicts.why_refused("token") == "logged out"


def test_a_failure_is_not_kept(clock: Clock) -> None:
    verdicts, source = cache(clock), Source(clock)

    def fail() -> IntrospectionResult:
        raise BackendUnavailable("down")

    with pytest.raises(BackendUnavailable):
        verdicts.introspect("token", fail)

    assert verdicts.introspect("token", source).claims == {"sub": "alice"}


def test_a_local_logout_wins_even_over_an_answer_that_is_on_its_way(clock: Clock) -> None:
    verdicts = cache(clock)

    def answer_after_the_logout() -> IntrospectionResult:
        verdicts.revoke("token", until=clock() + 900, reason="logged out")
        return IntrospectionResult(clock() + 600, {"sub": "alice"})

    first = verdicts.introspect("token", answer_after_the_logout)
    clock.time += 800
    later = verdicts.introspect("token", Source(clock))

    assert (first.claims, first.reason, later.claims) == (None, "logged out", None)


def test_guessed_tokens_do_not_push_out_good_ones(clock: Clock) -> None:
    verdicts, good = cache(clock, entries=2), Source(clock)
    verdicts.introspect("good", good)

    for number in range(10):
        verdicts.introspect(f"guess-{number}", Source(clock, says=None))
    verdicts.introspect("good", good)

    assert good.asked == 1


def test_sources_do_not_share_verdicts(clock: Clock) -> None:
    store = MemoryIntrospections(10)
    one, two = (IntrospectionCache(name, store, now=clock) for name in ("issuer", "other"))
    one.introspect("token", Source(clock))
    source = Source(clock, says=None)

    assert two.introspect("token", source).claims is None
    assert source.asked == 1


def test_replicas_with_one_store_share_verdicts(clock: Clock) -> None:
    store, source = MemoryIntrospections(10), Source(clock)

    for _ in range(2):
        IntrospectionCache("issuer", store, now=clock).introspect("token", source)

    assert source.asked == 1


def test_the_store_never_sees_a_token(clock: Clock) -> None:
    seen: list[bytes] = []

    class Store(MemoryIntrospections):
        def save(self, digest: bytes, result: IntrospectionResult) -> None:
            seen.append(digest + repr(result).encode())
            super().save(digest, result)

    IntrospectionCache("issuer", Store(10), now=clock).introspect("token-canary", Source(clock))

    assert len(seen) == 1
    assert b"canary" not in seen[0]


def test_threads_with_one_token_ask_once_and_get_the_same(clock: Clock) -> None:
    verdicts, source, asked = cache(clock), Source(clock), threading.Event()
    go = threading.Event()

    def slowly() -> IntrospectionResult:
        asked.set()
        go.wait(5)
        return source()

    with ThreadPoolExecutor(MAX_WAITING) as pool:
        answers = [pool.submit(verdicts.introspect, "token", slowly) for _ in range(MAX_WAITING - 1)]
        asked.wait(5)
        go.set()

        assert {id(answer.result()) for answer in answers} == {id(answers[0].result())}
    assert source.asked == 1


def test_a_slow_source_keeps_only_so_many_threads(clock: Clock) -> None:
    verdicts, go = cache(clock), threading.Event()
    inside = threading.Semaphore(0)

    def slowly() -> IntrospectionResult:
        inside.release()
        go.wait(5)
        return IntrospectionResult(clock() + 1, None)

    with ThreadPoolExecutor(MAX_WAITING) as pool:
        answers = [pool.submit(verdicts.introspect, f"token-{number}", slowly) for number in range(MAX_WAITING)]
        for _ in range(MAX_WAITING):
            inside.acquire(timeout=5)

        with pytest.raises(Overloaded):
            verdicts.introspect("one too many", slowly)
        go.set()

        assert [answer.result().claims for answer in answers] == [None] * MAX_WAITING


def test_a_caller_with_many_tokens_leaves_room_for_others_at_a_slow_source(clock: Clock) -> None:
    verdicts, go = cache(clock), threading.Event()
    inside, each = threading.Semaphore(0), MAX_WAITING * 3 // 4

    def slowly() -> IntrospectionResult:
        inside.release()
        go.wait(5)
        return IntrospectionResult(clock() + 1, None)

    with ThreadPoolExecutor(MAX_WAITING) as pool:
        guesses = [
            pool.submit(verdicts.introspect, f"guess-{number}", slowly, caller="192.0.2.66") for number in range(each)
        ]
        for _ in range(each):
            inside.acquire(timeout=5)

        with pytest.raises(Overloaded):
            verdicts.introspect("one more", slowly, caller="192.0.2.66")
        answer = verdicts.introspect("token", Source(clock), caller="198.51.100.1")
        go.set()

        assert answer.claims == {"sub": "alice"}
        assert [guess.result().claims for guess in guesses] == [None] * each


def test_why_a_token_is_refused_is_known_without_asking(clock: Clock) -> None:
    verdicts = cache(clock)
    verdicts.introspect("good", Source(clock))
    verdicts.introspect("bad", Source(clock, says=None))

    assert [verdicts.why_refused(token) for token in ("good", "bad", "new")] == ["", "no", ""]
    assert [verdicts.has_accepted(token) for token in ("good", "bad", "new")] == [True, False, False]
    clock.time += 600
    assert [verdicts.why_refused("bad"), verdicts.has_accepted("good")] == ["", True]


@pytest.mark.parametrize(("ahead_s", "asked"), [(30, 1), (31, 2)])
def test_a_result_may_last_half_a_minute_longer_than_the_longest(clock: Clock, ahead_s: int, asked: int) -> None:
    verdicts = IntrospectionCache("issuer", MemoryIntrospections(10), longest_s=600, now=clock)
    source = Source(clock, for_s=600 + ahead_s)

    verdicts.introspect("token", source)
    verdicts.introspect("token", source)

    assert source.asked == asked


def test_a_result_that_another_has_just_brought_is_used(clock: Clock) -> None:
    class Late(MemoryIntrospections):
        """Finds nothing at the first look."""

        looks = 0

        def load(self, digest: bytes) -> IntrospectionResult | None:
            self.looks += 1
            return super().load(digest) if self.looks > 1 else None

    store, source = Late(10), Source(clock)
    store.save(IntrospectionCache("issuer", store, now=clock)._digest("token"), IntrospectionResult(2000, {"sub": "b"}))

    result = IntrospectionCache("issuer", store, now=clock).introspect("token", source)

    assert (result.claims, source.asked) == ({"sub": "b"}, 0)


class Shelf:
    """What Redis keeps, with its time to live; away where a test says so."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.px: dict[str, int] = {}
        self.away = False

    def ask(self, question: Callable[[Any], Any]) -> Any:
        if self.away:
            raise BackendUnavailable("redis is away")
        return question(self)

    def mget(self, keys: tuple[str, ...]) -> list[bytes | None]:
        return [self.kept.get(key) for key in keys]

    def set(self, key: str, box: bytes, *, px: int) -> None:
        self.kept[key], self.px[key] = box, px


def replica(shelf: Shelf, clock: Clock, secret: str = "s" * 32) -> SharedIntrospections:
    boxes = SealedBoxes((secret,), "verdicts")
    return SharedIntrospections(cast("RedisConnection", shelf), boxes, 10, now=clock)


YES, NO = IntrospectionResult(1600, {"sub": "alice"}), IntrospectionResult(1600, None, "logged out")
DIGEST = b"d" * 32


@pytest.mark.parametrize("result", [YES, NO])
def test_replicas_share_a_result_until_it_ends(clock: Clock, result: IntrospectionResult) -> None:
    shelf = Shelf()
    one, other = replica(shelf, clock), replica(shelf, clock)

    one.save(DIGEST, result)

    assert one.digest_key == other.digest_key
    assert other.load(DIGEST) == result
    assert list(shelf.px.values()) == [600_000]
    clock.time = 1600
    assert replica(shelf, clock).load(DIGEST) is None


def test_a_result_that_is_over_is_not_shared(clock: Clock) -> None:
    shelf = Shelf()
    clock.time = 1600

    replica(shelf, clock).save(DIGEST, YES)

    assert shelf.kept == {}


@pytest.mark.parametrize("first", [YES, NO])
def test_a_refusal_comes_before_an_active_result_in_whatever_order(clock: Clock, first: IntrospectionResult) -> None:
    shelf = Shelf()
    one, other = replica(shelf, clock), replica(shelf, clock)

    one.save(DIGEST, first)
    other.save(DIGEST, NO if first is YES else YES)

    assert replica(shelf, clock).load(DIGEST) == NO


def test_a_refusal_here_is_used_without_asking_until_it_ends(clock: Clock) -> None:
    shelf = Shelf()
    here = replica(shelf, clock)
    here.save(DIGEST, NO)
    shelf.kept.clear()
    replica(shelf, clock).save(DIGEST, IntrospectionResult(9000, {"sub": "alice"}))

    assert here.load(DIGEST) == NO
    clock.time = 1600
    later = here.load(DIGEST)
    assert later is not None
    assert later.claims == {"sub": "alice"}


def test_without_redis_a_replica_uses_what_it_knows(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    one, other = replica(shelf, clock), replica(shelf, clock)
    one.save(DIGEST, YES)
    assert other.load(DIGEST) == YES
    shelf.away = True

    with caplog.at_level("INFO", logger="compat_auth.redis"):
        one.save(b"e" * 32, NO)

    assert other.load(DIGEST) == YES
    assert one.load(b"e" * 32) == NO
    assert other.load(b"e" * 32) is None
    assert "an introspection result is not shared" in caplog.text


def test_what_somebody_without_the_secret_has_written_counts_for_nothing(clock: Clock) -> None:
    shelf = Shelf()
    replica(shelf, clock, "x" * 32).save(DIGEST, YES)
    [(key, box)] = shelf.kept.items()
    replica(shelf, clock).save(b"e" * 32, YES)
    foreign = next(value for name, value in shelf.kept.items() if name != key)

    assert replica(shelf, clock).load(DIGEST) is None
    shelf.kept[key] = foreign
    assert replica(shelf, clock).load(DIGEST) is None
    assert box != foreign


@pytest.mark.parametrize(("url", "kind"), [("", MemoryIntrospections), ("redis://127.0.0.1:1/0", SharedIntrospections)])
def test_results_are_shared_where_redis_is_set(url: str, kind: type[object]) -> None:
    settings = Settings.model_validate({"redis_url": url, "session": {"secret": "s" * 32}})

    opened = open_introspections(settings, 5)

    assert type(opened) is kind
    assert len(opened.digest_key) == 32

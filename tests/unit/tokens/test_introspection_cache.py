"""What a remote source has said about tokens, and for how long it counts."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from compat_auth.concurrency.single_flight import MAX_WAITING
from compat_auth.errors import BackendUnavailable, Overloaded
from compat_auth.tokens.introspection_cache import IntrospectionCache, IntrospectionResult, MemoryIntrospections
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

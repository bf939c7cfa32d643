"""An issuer's keys: how long they are believed, when they are fetched, and who waits for that."""

# A unit test may look inside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from compat_auth.concurrency.single_flight import MAX_WAITING
from compat_auth.errors import BackendUnavailable, InvalidToken
from compat_auth.net.cached_document import (
    DEFAULT_TTL_S,
    MAX_STALE_S,
    MAX_TTL_S,
    MIN_TTL_S,
    PAUSE_AFTER_ERROR_S,
    PAUSE_S,
    ttl_of,
)
from compat_auth.net.https_client import Endpoint
from compat_auth.tokens.keys.jwks_cache import JwksCache
from support.stand_ins import Clock
from support.stub_issuer import (
    AUDIENCE,
    EC_KEY,
    ED_KEY,
    OTHER_RSA_KEY,
    RSA_KEY,
    Answer,
    StubIssuer,
    jwk,
    running_issuer,
    sign,
)


@pytest.fixture
def issuer() -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        yield stub


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jwks(issuer: StubIssuer, clock: Clock) -> JwksCache:
    endpoint = Endpoint.parse(f"{issuer.url}/jwks", where="test")
    return JwksCache(lambda: endpoint, now=clock)


def until(condition: str, holds: object) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 5
    while not (holds() if callable(holds) else holds):
        assert time.monotonic() < deadline, condition
        time.sleep(0.01)


def test_a_key_is_fetched_at_first_use_and_then_held(jwks: JwksCache, issuer: StubIssuer) -> None:
    assert issuer.asked["/jwks"] == 0

    algorithms = [jwks.find(kid).algorithm for kid in ("rsa", "ec", "rsa")]

    assert algorithms == ["RS256", "ES256", "RS256"]
    assert issuer.asked["/jwks"] == 1


def test_keys_of_every_kind_get_one_algorithm_each(jwks: JwksCache, issuer: StubIssuer) -> None:
    rsa = RSA_KEY.public_key()
    issuer.keys = [jwk(rsa, "ps", alg="PS256"), jwk(rsa, "plain"), jwk(ED_KEY.public_key(), "ed")]

    assert [jwks.find(kid).algorithm for kid in ("ps", "plain", "ed")] == ["PS256", "RS256", "EdDSA"]


def test_of_two_keys_with_one_id_the_first_counts(jwks: JwksCache, issuer: StubIssuer) -> None:
    issuer.keys = [jwk(EC_KEY.public_key(), "same"), jwk(RSA_KEY.public_key(), "same")]

    assert jwks.find("same").algorithm == "ES256"


def test_many_threads_that_need_a_key_make_one_fetch(jwks: JwksCache, issuer: StubIssuer) -> None:
    issuer.says["/jwks"] = Answer({"keys": issuer.keys}, pause_s=0.0005)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(jwks.find, ["rsa"] * 8))

    assert {key.kid for key in found} == {"rsa"}
    assert issuer.asked["/jwks"] == 1


def test_a_token_without_a_kid_makes_the_cache_notice_a_new_key_after_a_pause(
    jwks: JwksCache, issuer: StubIssuer, clock: Clock
) -> None:
    def verify(key: rsa.RSAPrivateKey) -> object:
        token = sign(issuer.claims(), key=key, kid=None)
        return jwks.verify(token, audience=(AUDIENCE,), issuer=issuer.url, types=("at+jwt",), now=time.time())["sub"]

    issuer.keys = [jwk(RSA_KEY.public_key(), "rsa", kid=None)]
    before = verify(RSA_KEY)
    issuer.keys = [jwk(OTHER_RSA_KEY.public_key(), "rsa", kid=None)]

    with pytest.raises(InvalidToken, match="signature"):
        verify(OTHER_RSA_KEY)
    clock.time += PAUSE_S
    after = verify(OTHER_RSA_KEY)
    with pytest.raises(InvalidToken, match="signature"):
        verify(RSA_KEY)

    assert (before, after) == ("alice", "alice")


def test_an_unknown_key_is_looked_for_again_after_a_pause(jwks: JwksCache, issuer: StubIssuer, clock: Clock) -> None:
    jwks.find("rsa")
    issuer.keys.append(jwk(ED_KEY.public_key(), "new"))

    with pytest.raises(InvalidToken):
        jwks.find("new")
    clock.time += PAUSE_S

    assert jwks.find("new").algorithm == "EdDSA"
    assert issuer.asked["/jwks"] == 2


def test_an_unknown_key_is_unavailable_rather_than_wrong_while_the_source_is_down(
    jwks: JwksCache, issuer: StubIssuer, clock: Clock
) -> None:
    jwks.find("rsa")
    issuer.says["/jwks"] = Answer(status=503)
    clock.time += PAUSE_S

    with pytest.raises(BackendUnavailable):
        jwks.find("new")

    assert jwks.find("rsa").kid == "rsa"


def test_a_key_that_the_issuer_has_withdrawn_is_gone_when_its_time_is_up(
    jwks: JwksCache, issuer: StubIssuer, clock: Clock
) -> None:
    jwks.find("rsa")
    issuer.keys = [jwk(EC_KEY.public_key(), "ec")]
    clock.time += DEFAULT_TTL_S

    with pytest.raises(InvalidToken):
        jwks.find("rsa")


def test_a_source_that_is_down_leaves_the_keys_for_four_hours_and_no_longer(
    jwks: JwksCache, issuer: StubIssuer, clock: Clock
) -> None:
    jwks.find("rsa")
    issuer.says["/jwks"] = Answer(status=500)

    clock.time += DEFAULT_TTL_S + MAX_STALE_S - 1
    assert jwks.find("rsa").kid == "rsa"
    clock.time += 1
    with pytest.raises(BackendUnavailable):
        jwks.find("rsa")


def test_after_a_failure_the_source_has_a_pause_and_then_another_chance(
    jwks: JwksCache, issuer: StubIssuer, clock: Clock
) -> None:
    good = issuer.says["/jwks"]
    issuer.says["/jwks"] = Answer(status=500)
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            jwks.find("rsa")
    issuer.says["/jwks"] = good

    clock.time += PAUSE_AFTER_ERROR_S

    assert jwks.find("rsa").kid == "rsa"
    assert issuer.asked["/jwks"] == 2


def test_keys_in_use_are_fetched_anew_in_the_background_before_they_end(
    jwks: JwksCache, issuer: StubIssuer, clock: Clock
) -> None:
    jwks.find("rsa")
    issuer.says["/jwks"] = Answer({"keys": issuer.keys}, pause_s=0.001)
    clock.time += DEFAULT_TTL_S * 0.9

    began = time.monotonic()
    for _ in range(10):
        jwks.find("rsa")
    took_s = time.monotonic() - began

    until("one more fetch", lambda: issuer.asked["/jwks"] == 2)
    assert took_s < 0.5


def test_a_slow_source_holds_up_only_who_needs_it(jwks: JwksCache, issuer: StubIssuer, clock: Clock) -> None:
    jwks.find("rsa")
    started = threading.Event()

    def slowly(_: object) -> Answer:
        started.set()
        time.sleep(1)
        return Answer({"keys": issuer.keys})

    issuer.says["/jwks"] = slowly
    clock.time += PAUSE_S
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(jwks.find, "unknown")
        started.wait(5)

        began = time.monotonic()
        found = jwks.find("rsa")
        took_s = time.monotonic() - began

        assert (found.kid, waiting.done()) == ("rsa", False)
        assert took_s < 0.5
        assert isinstance(waiting.exception(), InvalidToken)


def test_when_too_many_wait_the_keys_that_are_held_go_on(jwks: JwksCache, issuer: StubIssuer, clock: Clock) -> None:
    jwks.find("rsa")
    started, go = threading.Semaphore(0), threading.Event()

    def slowly(_: object) -> Answer:
        started.release()
        go.wait(5)
        return Answer({"keys": issuer.keys})

    issuer.says["/jwks"] = slowly
    clock.time += DEFAULT_TTL_S
    with ThreadPoolExecutor(MAX_WAITING) as pool:
        waiting = [pool.submit(jwks.find, "rsa") for _ in range(MAX_WAITING)]
        started.acquire(timeout=5)
        until("all of them wait", lambda: jwks._document._flight._waiting.total() == MAX_WAITING)

        found = jwks.find("rsa")
        go.set()

        assert {key.result().kid for key in waiting} == {found.kid}


def test_a_source_that_drips_is_cut_off(issuer: StubIssuer) -> None:
    issuer.says["/jwks"] = Answer({"keys": issuer.keys}, pause_s=0.05)
    endpoint = Endpoint.parse(f"{issuer.url}/jwks", where="test")
    impatient = Endpoint(endpoint.url, endpoint.origin, endpoint.target, endpoint.tls, answer_timeout_s=0.3)
    began = time.monotonic()

    with pytest.raises(BackendUnavailable):
        JwksCache(lambda: impatient).find("rsa")

    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("headers", "ttl_s"),
    [
        ({}, DEFAULT_TTL_S),
        ({"cache-control": "public, max-age=300, must-revalidate"}, 300),
        ({"cache-control": 'Max-Age="300"', "age": "100"}, 200),
        ({"cache-control": "s-maxage=300"}, DEFAULT_TTL_S),
        ({"cache-control": "no-store, max-age=300"}, MIN_TTL_S),
        ({"cache-control": "max-age=-1"}, DEFAULT_TTL_S),
        ({"cache-control": "max-age=300", "age": "yesterday"}, 300),
    ],
)
def test_an_answer_says_how_long_it_is_fresh(headers: dict[str, str], ttl_s: float) -> None:
    assert ttl_of(headers) == ttl_s


@pytest.mark.parametrize(("said_s", "held_s"), [(0, MIN_TTL_S), (999_999_999, MAX_TTL_S)])
def test_how_long_it_is_fresh_has_bounds(
    jwks: JwksCache, issuer: StubIssuer, clock: Clock, said_s: int, held_s: float
) -> None:
    issuer.says["/jwks"] = lambda _: Answer({"keys": issuer.keys}, headers={"Cache-Control": f"max-age={said_s}"})
    jwks.find("rsa")
    issuer.keys = []

    clock.time += held_s * 0.79
    assert jwks.find("rsa").kid == "rsa"
    clock.time += held_s
    with pytest.raises(InvalidToken):
        jwks.find("rsa")

"""Redis in the hands of an attacker who can read and write all of it: nobody comes in by it, and nothing is learnt."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from compat_auth.authn.revocation_events import RevocationEvent, RevocationEvents
from compat_auth.crypto.aead import SealedBoxes
from compat_auth.store.redis.client import RedisConnection
from compat_auth.store.redis.pubsub import CHANNEL, RedisChannel
from compat_auth.tokens.introspection_cache import IntrospectionCache, IntrospectionResult, SharedIntrospections
from support.peers.redis_server import RedisServer

pytestmark = pytest.mark.peer

SECRETS = ("s" * 32,)
TOKEN = "token-canary"
CLAIMS = {"sub": "zoë-canary"}
YES, NO = "compat_auth:yes:", "compat_auth:no:"


class Attacker:
    """Has Redis's password."""

    def __init__(self, url: str) -> None:
        self._connection = RedisConnection(url)

    def clear(self) -> None:
        self._connection.ask(lambda redis: redis.flushall())

    def all(self) -> dict[str, bytes]:
        """Return every key with its value."""
        keys: list[bytes] = self._connection.ask(lambda redis: redis.keys("*"))
        values: list[bytes] = self._connection.ask(lambda redis: redis.mget(keys))
        return {key.decode(): value for key, value in zip(keys, values, strict=True)}

    def put(self, key: str, value: bytes) -> None:
        self._connection.ask(lambda redis: redis.set(key, value, ex=60))

    def publish(self, message: bytes) -> None:
        self._connection.ask(lambda redis: redis.publish(CHANNEL, message))


@pytest.fixture
def attacker(redis_server: RedisServer) -> Attacker:
    attacker = Attacker(redis_server.url)
    attacker.clear()
    return attacker


@pytest.fixture
def replica(redis_server: RedisServer) -> Callable[[], IntrospectionCache]:
    """Make a replica that remembers nothing yet."""
    return lambda: IntrospectionCache("issuer", store_of(redis_server))


def store_of(redis_server: RedisServer, secrets: tuple[str, ...] = SECRETS) -> SharedIntrospections:
    return SharedIntrospections(RedisConnection(redis_server.url), SealedBoxes(secrets, "verdicts"), 100)


def yes(claims: dict[str, str] | None = None) -> IntrospectionResult:
    return IntrospectionResult(time.time() + 60, claims or CLAIMS)


def no() -> IntrospectionResult:
    return IntrospectionResult(time.time() + 60, None, "reason-canary")


Replica = Callable[[], IntrospectionCache]


def test_whoever_reads_redis_learns_neither_tokens_nor_users(attacker: Attacker, replica: Replica) -> None:
    replica().introspect(TOKEN, yes)
    replica().introspect(TOKEN + "2", no)

    found = repr(attacker.all())

    assert found.count("compat_auth:") == 2
    assert "canary" not in found


def test_a_digest_cannot_be_computed_without_the_secret(attacker: Attacker, redis_server: RedisServer) -> None:
    IntrospectionCache("issuer", store_of(redis_server)).introspect(TOKEN, yes)
    IntrospectionCache("issuer", store_of(redis_server, ("t" * 32,))).introspect(TOKEN, yes)

    assert len(attacker.all()) == 2


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(lambda _box: json.dumps([time.time() + 60, {"sub": "admin"}, ""]).encode(), id="unsealed"),
        pytest.param(lambda box: box[:16] + json.dumps([9e9, {"sub": "admin"}, ""]).encode(), id="under-a-true-head"),
        pytest.param(lambda box: box[:-1] + bytes([box[-1] ^ 1]), id="changed"),
        pytest.param(lambda box: box[:20], id="cut"),
        pytest.param(lambda _box: b"", id="empty"),
        pytest.param(
            lambda _box: SealedBoxes(("t" * 32,), "verdicts").seal(b'[9e9, {"sub": "admin"}, ""]'), id="another-secret"
        ),
        pytest.param(
            lambda _box: SealedBoxes(SECRETS, "revocations").seal(b'[9e9, {"sub": "admin"}, ""]'), id="another-purpose"
        ),
    ],
)
def test_a_forged_verdict_lets_nobody_in(
    attacker: Attacker, replica: Replica, forged: Callable[[bytes], bytes]
) -> None:
    replica().introspect(TOKEN, yes)
    ((key, box),) = attacker.all().items()

    attacker.put(key, forged(box))

    assert replica().introspect(TOKEN, no).claims is None


def test_a_true_verdict_on_another_token_lets_nobody_in(attacker: Attacker, replica: Replica) -> None:
    replica().introspect("bad-token", no)
    ((bad_key, _),) = attacker.all().items()
    attacker.clear()
    replica().introspect(TOKEN, yes)
    ((_, box),) = attacker.all().items()
    attacker.clear()

    attacker.put(bad_key.replace(NO, YES), box)

    assert replica().introspect("bad-token", no).claims is None


def test_a_refusal_cannot_be_made_out_of_an_acceptance_nor_the_other_way_round(
    attacker: Attacker, replica: Replica
) -> None:
    replica().introspect(TOKEN, yes)
    ((key, box),) = attacker.all().items()
    attacker.clear()

    attacker.put(key.replace(YES, NO), box)

    assert replica().introspect(TOKEN, yes).claims == CLAIMS


def test_a_verdict_put_back_is_believed_no_longer_than_it_was_made_for(attacker: Attacker, replica: Replica) -> None:
    replica().introspect(TOKEN, lambda: IntrospectionResult(time.time() + 0.3, CLAIMS))
    ((key, box),) = attacker.all().items()
    time.sleep(0.4)

    attacker.put(key, box)

    assert replica().introspect(TOKEN, no).claims is None


def test_an_older_yes_put_back_does_not_undo_a_logout(attacker: Attacker, replica: Replica) -> None:
    replica().introspect(TOKEN, yes)
    ((key, box),) = attacker.all().items()
    replica().revoke(TOKEN, until=time.time() + 60, reason="logged out")

    attacker.put(key, box)

    assert replica().introspect(TOKEN, yes).claims is None


def test_who_has_logged_out_here_stays_out_here_though_everything_is_deleted(
    attacker: Attacker, replica: Replica
) -> None:
    here = replica()
    here.introspect(TOKEN, yes)
    here.revoke(TOKEN, until=time.time() + 60, reason="logged out")

    attacker.clear()

    assert here.introspect(TOKEN, yes).claims is None


class Listener:
    """A process, and what it hears."""

    def __init__(self, url: str) -> None:
        self.channel = RedisChannel(RedisConnection(url), SealedBoxes(SECRETS, "revocations"))
        self.revocations = RevocationEvents(self.channel)
        self.heard: list[RevocationEvent | None] = []
        self.revocations.listen(self.heard.append)
        self.wait_until(lambda: self.revocations.hears_all)
        self.heard.clear()

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not is_so():
            assert time.monotonic() < deadline, self.heard
            time.sleep(0.005)


@pytest.fixture
def listener(redis_server: RedisServer) -> Iterator[Listener]:
    listener = Listener(redis_server.url)
    yield listener
    listener.channel.close()


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"x" * 100_000,
        b'["zo\xc3\xab", ""]',
        b"\xff" * 40,
        SealedBoxes(SECRETS, "verdicts").seal(b'["alice", ""]'),
        SealedBoxes(("t" * 32,), "revocations").seal(b'["alice", ""]'),
    ],
    ids=["empty", "long", "bare", "bytes", "other-kind", "other-secret"],
)
def test_a_forged_announcement_names_nobody_and_the_true_ones_are_still_heard(
    attacker: Attacker, listener: Listener, message: bytes
) -> None:
    attacker.publish(message)
    listener.revocations.announce(RevocationEvent("zoë"))
    listener.wait_until(lambda: len(listener.heard) == 3)

    assert listener.heard.count(None) == 1
    assert listener.heard.count(RevocationEvent("zoë")) == 2


def test_an_announcement_shows_nothing_to_who_listens_in(redis_server: RedisServer, listener: Listener) -> None:
    seen: list[bytes] = []

    def listen_in(redis: object) -> None:
        subscription = redis.pubsub()  # type: ignore[attr-defined]  # redis-py's client
        subscription.subscribe(CHANNEL)
        subscription.get_message(timeout=5)
        listener.revocations.announce(RevocationEvent("zoë-canary", "pat:canary"))
        seen.append(subscription.get_message(timeout=5)["data"])
        subscription.close()

    RedisConnection(redis_server.url).ask(listen_in)

    assert len(seen) == 1
    assert b"canary" not in seen[0]

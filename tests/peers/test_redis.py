"""What processes share by way of a real Redis: revocations heard at once, verdicts asked for once, and what happens without it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compat_auth.authn.revocation_events import UNHEARD_S, RevocationEvent, RevocationEvents
from compat_auth.crypto.aead import SealedBoxes
from compat_auth.errors import BackendUnavailable
from compat_auth.store.redis.client import PAUSE_S, RedisConnection
from compat_auth.store.redis.pubsub import RedisChannel
from compat_auth.tokens.introspection_cache import IntrospectionCache, IntrospectionResult, SharedIntrospections
from support.peers.authority import Authority
from support.peers.redis_server import RedisServer

pytestmark = pytest.mark.peer

SECRETS = ("s" * 32,)
OTHER_SECRETS = ("t" * 32,)
PATIENCE_S = 10


class Process:
    """What one process hears, and when."""

    def __init__(self, url: str, secrets: tuple[str, ...] = SECRETS) -> None:
        self.channel = RedisChannel(RedisConnection(url), SealedBoxes(secrets, "revocations"))
        self.revocations = RevocationEvents(self.channel)
        self.heard: list[RevocationEvent | None] = []
        self.messages: list[RevocationEvent | None] = []
        self.revocations.listen(self.heard.append)
        self._take, self.channel._take = self.channel._take, self._record  # type: ignore[method-assign]

    def _record(self, message: dict[str, Any]) -> None:
        self._take(message)
        if message["type"] == "message":
            self.messages.append(self.heard[-1])

    def wait_until(self, is_so: Callable[[], bool]) -> float:
        """Return how many seconds it took."""
        began = time.monotonic()
        while not is_so():
            assert time.monotonic() - began < PATIENCE_S, self.heard
            time.sleep(0.002)
        return time.monotonic() - began

    def listens(self) -> Process:
        self.wait_until(lambda: self.revocations.hears_all)
        self.heard.clear()
        return self


Start = Callable[..., Process]


@pytest.fixture
def start(redis_server: RedisServer) -> Iterator[Start]:
    started: list[Process] = []

    def start(secrets: tuple[str, ...] = SECRETS) -> Process:
        started.append(Process(redis_server.url, secrets))
        return started[-1]

    yield start
    for process in started:
        process.channel.close()


def verdicts_of(url: str, secrets: tuple[str, ...] = SECRETS) -> SharedIntrospections:
    return SharedIntrospections(RedisConnection(url), SealedBoxes(secrets, "verdicts"), 100)


class Source:
    """Says yes, and counts."""

    def __init__(self, claims: dict[str, object] | None = None) -> None:
        self.claims = claims or {"sub": "zoë"}
        self.asked = 0

    def __call__(self) -> IntrospectionResult:
        self.asked += 1
        return IntrospectionResult(time.time() + 60, self.claims)


def test_what_one_process_revokes_all_hear_well_within_a_second(start: Start) -> None:
    one, other = start().listens(), start().listens()

    one.revocations.announce(RevocationEvent("zoë", "pat:1"))
    took_s = other.wait_until(lambda: bool(other.heard))

    assert other.heard == [RevocationEvent("zoë", "pat:1")]
    assert one.heard[0] == RevocationEvent("zoë", "pat:1")
    assert took_s < UNHEARD_S / 2


def test_a_process_that_only_announces_is_heard_and_starts_no_thread(start: Start) -> None:
    command, server = start(), start().listens()

    command.revocations.announce(RevocationEvent(credential_id="pat:1"))
    server.wait_until(lambda: bool(server.heard))

    assert server.heard == [RevocationEvent(credential_id="pat:1")]
    assert command.channel._pid == 0


def test_who_begins_to_listen_forgets_what_it_may_have_missed_and_only_then_relies_on_hearing(start: Start) -> None:
    process = start()
    relied_on: list[bool] = []
    process.revocations.listen(lambda _revocation: relied_on.append(process.channel._is_connected))

    process.wait_until(lambda: process.revocations.hears_all)

    assert process.heard == [None]
    assert relied_on == [False]


def test_without_redis_a_process_knows_that_it_hears_nothing_and_forgets_once(
    start: Start, redis_server: RedisServer
) -> None:
    process = start().listens()

    with redis_server.away():
        took_s = process.wait_until(lambda: not process.revocations.hears_all)
        time.sleep(1)
        heard_while_away = list(process.heard)
    process.wait_until(lambda: process.revocations.hears_all)

    assert took_s < UNHEARD_S
    assert heard_while_away == [None]
    assert process.heard == [None, None]


def test_a_redis_that_keeps_the_connection_and_answers_nothing_counts_as_away_within_a_second(
    start: Start, redis_server: RedisServer
) -> None:
    process = start().listens()

    with redis_server.frozen():
        took_s = process.wait_until(lambda: None in process.heard)
        hears = process.revocations.hears_all
    process.wait_until(lambda: process.revocations.hears_all)

    assert took_s < UNHEARD_S
    assert hears is False


def test_a_revocation_that_could_not_be_sent_is_made_up_for(start: Start, redis_server: RedisServer) -> None:
    one, other = start().listens(), start().listens()

    with redis_server.frozen():
        began = time.monotonic()
        one.revocations.announce(RevocationEvent("zoë"))
        took_s = time.monotonic() - began
    one.wait_until(lambda: one.revocations.hears_all)
    other.wait_until(lambda: None in other.messages)

    assert one.heard[0] == RevocationEvent("zoë")
    assert took_s < 3


def test_a_revocation_soon_after_an_outage_is_known_long_before_requests_ask_redis_again(
    start: Start, redis_server: RedisServer
) -> None:
    one, other = start().listens(), start().listens()
    with redis_server.away():
        one.revocations.announce(RevocationEvent("zoë"))
    one.wait_until(lambda: one.revocations.hears_all)
    other.wait_until(lambda: other.revocations.hears_all)

    one.revocations.announce(RevocationEvent("anna"))
    took_s = other.wait_until(lambda: bool(other.messages))

    assert other.messages[0] in (None, RevocationEvent("anna"))
    assert took_s < PAUSE_S / 2


def test_a_child_of_a_fork_listens_for_itself(start: Start) -> None:
    parent, other = start().listens(), start().listens()
    reading, writing = os.pipe()

    child = os.fork()
    if not child:
        # Nothing of the test's own may run in the child.
        try:
            parent.listens()
            os.write(writing, b"l")
            parent.wait_until(lambda: RevocationEvent("zoë") in parent.heard)
            os.write(writing, b"h")
        finally:
            os._exit(0)
    listens = os.read(reading, 1)
    other.revocations.announce(RevocationEvent("zoë"))
    hears = os.read(reading, 1)
    os.waitpid(child, 0)
    parent.wait_until(lambda: RevocationEvent("zoë") in parent.heard)

    assert (listens, hears) == (b"l", b"h")


def test_a_process_with_another_secret_is_not_believed_but_makes_others_forget(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    ours, stranger = start().listens(), start(OTHER_SECRETS)

    for _ in range(3):
        stranger.revocations.announce(RevocationEvent("zoë"))
    ours.wait_until(lambda: len(ours.heard) == 3)

    assert ours.heard == [None] * 3
    assert caplog.text.count("not encrypted with our secret") == 1


def test_during_a_rotation_old_and_new_secret_understand_each_other(start: Start) -> None:
    new_first, old_first = start((*OTHER_SECRETS, *SECRETS)).listens(), start((*SECRETS, *OTHER_SECRETS)).listens()

    new_first.revocations.announce(RevocationEvent("a"))
    old_first.wait_until(lambda: bool(old_first.heard))
    old_first.revocations.announce(RevocationEvent("b"))
    new_first.wait_until(lambda: RevocationEvent("b") in new_first.heard)

    assert old_first.heard[0] == RevocationEvent("a")


def test_replicas_ask_a_source_once(redis_server: RedisServer) -> None:
    source = Source()
    replicas = [IntrospectionCache("issuer", verdicts_of(redis_server.url)) for _ in range(3)]

    answers = [replica.introspect("token-once", source) for replica in replicas]

    assert source.asked == 1
    assert [answer.claims for answer in answers] == [{"sub": "zoë"}] * 3


def test_a_logout_on_one_replica_is_a_refusal_on_all(redis_server: RedisServer) -> None:
    source = Source()
    one, other = (IntrospectionCache("issuer", verdicts_of(redis_server.url)) for _ in range(2))
    for replica in (one, other):
        replica.introspect("token-out", source)

    one.revoke("token-out", until=time.time() + 60, reason="logged out")

    assert (other.introspect("token-out", source).reason, source.asked) == ("logged out", 1)


def test_an_answer_that_comes_after_the_logout_does_not_undo_it(redis_server: RedisServer) -> None:
    one, other = (IntrospectionCache("issuer", verdicts_of(redis_server.url)) for _ in range(2))

    def say_yes_while_another_replica_logs_out() -> IntrospectionResult:
        other.revoke("token-late", until=time.time() + 60, reason="logged out")
        return IntrospectionResult(time.time() + 60, {"sub": "zoë"})

    one.introspect("token-late", say_yes_while_another_replica_logs_out)

    for replica in (one, other, IntrospectionCache("issuer", verdicts_of(redis_server.url))):
        assert replica.introspect("token-late", Source()).claims is None


@pytest.mark.parametrize("trouble", ["away", "frozen"])
def test_without_redis_a_replica_answers_from_its_own_memory_and_does_not_wait_for_it_each_time(
    redis_server: RedisServer, trouble: str
) -> None:
    source = Source()
    cache = IntrospectionCache("issuer", verdicts_of(redis_server.url))
    cache.introspect("token-known", source)

    with redis_server.away() if trouble == "away" else redis_server.frozen():
        began = time.monotonic()
        known = cache.introspect("token-known", source)
        new = [cache.introspect(f"token-{trouble}-{number}", source).claims for number in range(20)]
        took_s = time.monotonic() - began

    assert known.claims == {"sub": "zoë"}
    assert new == [{"sub": "zoë"}] * 20
    assert source.asked == 21
    assert took_s < 3


def test_when_redis_is_back_verdicts_are_shared_again_without_a_restart(redis_server: RedisServer) -> None:
    source = Source()
    one, other = (IntrospectionCache("issuer", verdicts_of(redis_server.url)) for _ in range(2))
    with redis_server.away():
        one.introspect("token-before", source)
    time.sleep(PAUSE_S)

    one.introspect("token-back", source)
    other.introspect("token-back", source)

    assert source.asked == 2


def test_a_verdict_leaves_redis_when_it_ends(redis_server: RedisServer) -> None:
    store = verdicts_of(redis_server.url)
    store.save(b"d" * 32, IntrospectionResult(time.time() + 0.3, {"sub": "zoë"}))

    keys = [store._connection.ask(lambda redis: redis.exists("compat_auth:yes:" + "64" * 32))]
    time.sleep(0.4)
    keys.append(store._connection.ask(lambda redis: redis.exists("compat_auth:yes:" + "64" * 32)))

    assert keys == [1, 0]


def test_over_tls_redis_is_believed_with_its_authority_only(redis_server: RedisServer, authority: Authority) -> None:
    def ping(options: str) -> bool:
        return bool(RedisConnection(redis_server.tls_url + options).ask(lambda redis: redis.ping()))

    assert ping(f"?ssl_ca_certs={authority.ca_file}")
    with pytest.raises(BackendUnavailable):
        ping("")


def test_a_certificate_of_another_host_is_not_believed(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = RedisServer(tmp_path_factory.mktemp("elsewhere"), authority.sign("redis-elsewhere", "192.0.2.1"))
    server.start()
    try:
        connection = RedisConnection(f"{server.tls_url}?ssl_ca_certs={authority.ca_file}")

        with pytest.raises(BackendUnavailable):
            connection.ask(lambda redis: redis.ping())
    finally:
        server.stop()


def test_what_cannot_be_asked_is_named_without_its_password(redis_server: RedisServer) -> None:
    connection = RedisConnection(redis_server.url.replace("redis-p", "wrong-p"))

    with pytest.raises(BackendUnavailable, match=r"redis_url redis://127\.0\.0\.1:\d+: cannot be asked") as caught:
        connection.ask(lambda redis: redis.ping())

    assert "wrong-p" not in str(caught.value)

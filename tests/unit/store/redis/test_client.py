"""What `redis_url` may say."""

from __future__ import annotations

import importlib.util

import pytest

from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.config import parse_settings
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.store.redis.client import PAUSE_S, RedisConnection
from compat_auth.tokens.introspection_cache import MemoryIntrospections, SharedIntrospections, open_introspections
from support.stand_ins import Clock


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("redis://cache", "redis://cache"),
        ("redis://:s3cret@cache:6380/3", "redis://cache:6380"),
        ("rediss://user:s3cret@cache:6380?ssl_ca_certs=/ca.pem&db=2", "rediss://cache:6380"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
    ],
)
def test_a_connection_is_named_without_its_password(url: str, label: str) -> None:
    assert RedisConnection(url).label == label


@pytest.mark.parametrize(
    "url",
    [
        "cache",
        "http://:s3cret@cache",
        "redis://",
        "unix://",
        "redis://:s3cret@cache:port",
        "redis://[s3cret",
        "rediss://:s3cret@cache?ssl_cert_reqs=none",
        "rediss://:s3cret@cache?ssl_cert_reqs=",
        "rediss://:s3cret@cache?ssl_check_hostname=False",
        "redis://:s3cret@cache?socket_timeout=0",
        "redis://:s3cret@cache?db=first",
    ],
)
def test_a_url_that_cannot_work_or_would_weaken_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError, match="redis_url") as caught:
        RedisConnection(url)

    assert "s3cret" not in str(caught.value)


def test_tls_is_verified() -> None:
    found = RedisConnection("rediss://cache")._client.connection_pool.connection_kwargs

    assert (found["ssl_cert_reqs"], found["ssl_check_hostname"]) == ("required", True)


def test_a_missing_driver_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(ConfigError, match="with its extra 'redis'"):
        RedisConnection("redis://cache")


def test_where_it_was_away_a_moment_ago_nobody_waits_for_it_again() -> None:
    clock, asked = Clock(), [0]

    def fail(_client: object) -> None:
        asked[0] += 1
        raise ConnectionRefusedError

    connection = RedisConnection("redis://cache", monotonic=clock)
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            connection.ask(fail)
    clock.time += PAUSE_S
    with pytest.raises(BackendUnavailable):
        connection.ask(fail)

    assert asked == [2]


def test_without_a_url_verdicts_stay_in_the_process() -> None:
    assert isinstance(open_introspections(parse_settings({}, origin="test"), 10), MemoryIntrospections)


def test_with_a_url_verdicts_are_shared() -> None:
    settings = parse_settings({"redis_url": "redis://cache", "redis_secret": "s" * 32}, origin="test")

    assert isinstance(open_introspections(settings, 10), SharedIntrospections)


def test_a_url_without_a_secret_is_refused() -> None:
    settings = parse_settings({"redis_url": "redis://cache"}, origin="test")

    for build in (lambda: open_introspections(settings, 10), lambda: RevocationEvents.from_settings(settings)):
        with pytest.raises(ConfigError, match="set redis_secret"):
            build()

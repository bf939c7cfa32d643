"""The Redis of `redis_url`: connected at first use, given up soon, never believed without checking its certificate."""

from __future__ import annotations

import importlib
import importlib.util
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from compat_auth.errors import BackendUnavailable, ConfigError

T = TypeVar("T")
# Redis answers in a millisecond; a caller that waits longer than this continues without it.
TIMEOUT_S = 0.5
# While it is away, not every request waits for that to be found out: far longer than TIMEOUT_S, or many would.
PAUSE_S = 5.0
_SCHEMES = ("redis", "rediss", "unix")
# All others are decided here: what a URL can say in redis-py could switch off timeouts, or the check of certificates.
_OPTIONS = frozenset({"db", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"})


class RedisConnection:
    """Any thread may use it, and any process: a connection never crosses a fork.

    Args:
        url: `redis://`, `rediss://` (TLS, verified) or `unix://`.
        monotonic: Clock, in seconds.

    Attributes:
        label: Which Redis, without anything secret.

    Raises:
        ConfigError: The URL is malformed, or redis-py is not installed.
    """

    def __init__(self, url: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        if importlib.util.find_spec("redis") is None:
            raise ConfigError(
                "redis_url: redis-py is not installed; install compat_auth with its extra 'redis' (README: Install)"
            )
        # Loaded only where it is used: it is large.
        redis: Any = importlib.import_module("redis")
        self.label = _check(url)
        self._errors: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        self._client: Any = redis.Redis.from_url(url, **_options(url.startswith("rediss:")))
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._is_away, self._away_until = False, -PAUSE_S

    def ask(self, work: Callable[[Any], T]) -> T:
        """Return the result of the work with the client.

        Raises:
            BackendUnavailable: Redis could not be asked, now or a moment ago.
        """
        with self._lock:
            away = self._monotonic() < self._away_until
            if self._is_away and not away:
                # One asks whether it is back; the others do not wait for that.
                self._away_until = self._monotonic() + PAUSE_S
        if away:
            raise BackendUnavailable(f"redis_url {self.label}: away")
        try:
            answer = self.insist(work)
        except BackendUnavailable:
            with self._lock:
                self._is_away, self._away_until = True, self._monotonic() + PAUSE_S
            raise
        with self._lock:
            self._is_away, self._away_until = False, -PAUSE_S
        return answer

    def insist(self, work: Callable[[Any], T]) -> T:
        """Return the result of the work with the client, even if the server did not answer a moment ago.

        Raises:
            BackendUnavailable: Redis could not be asked.
        """
        try:
            return work(self._client)
        except self._errors as exc:
            raise BackendUnavailable(
                f"redis_url {self.label}: cannot be asked ({type(exc).__name__}); check that it runs, and its password"
            ) from exc

    def close(self) -> None:
        """Give the connections back; the next use opens new ones."""
        self._client.close()


def _options(tls: bool) -> dict[str, Any]:
    retry: Any = importlib.import_module("redis.retry")
    backoff: Any = importlib.import_module("redis.backoff")
    errors: Any = importlib.import_module("redis.exceptions")
    # Once more, at once: that Redis has closed a pooled connection is found out only by using it. Silence is waited for once.
    options = {
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": TIMEOUT_S,
        "retry": retry.Retry(backoff.NoBackoff(), 1, supported_errors=(errors.ConnectionError,)),
    }
    return {**options, "ssl_cert_reqs": "required", "ssl_check_hostname": True} if tls else options


def _check(url: str) -> str:
    """Return which Redis a URL means, without anything secret.

    Raises:
        ConfigError: It is no such URL; the message repeats nothing of it, for it may hold a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    where = parts.path if parts.scheme == "unix" else parts.hostname
    if parts.scheme not in _SCHEMES or not where:
        raise ConfigError(
            "redis_url: not a Redis URL; write redis://HOST:6379/0, rediss://HOST:6379/0 or unix:///SOCKET"
        )
    options = parse_qs(parts.query, keep_blank_values=True)
    unknown = sorted(options.keys() - _OPTIONS)
    if not all(number.isdecimal() for number in options.get("db", [])):
        raise ConfigError("redis_url: db: not a number")
    if unknown:
        raise ConfigError(f"redis_url: {unknown[0]}: not an option here; there are: {', '.join(sorted(_OPTIONS))}")
    return f"{parts.scheme}://{where}" + (f":{port}" if port else "")

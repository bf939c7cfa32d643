"""Cache of token introspection results (RFC 7662), in this process and, optionally, shared in Redis.

A result is stored under a keyed digest of the token, never under the token itself. Active and inactive results are kept
apart, so that guessed tokens cannot evict valid ones. A failed request to the source is not cached. A local logout
stores an inactive result that no later answer of the source replaces.
"""

from __future__ import annotations

import json
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Protocol, cast

from cachetools import LRUCache

from compat_auth.concurrency.single_flight import SingleFlight
from compat_auth.config import Settings
from compat_auth.config.settings import sharing_secrets
from compat_auth.crypto.aead import SealedBoxes
from compat_auth.errors import BackendUnavailable
from compat_auth.store.redis.client import RedisConnection

_MAX_SKEW_S = 30  # between replicas that share results


@dataclass(frozen=True, slots=True)
class IntrospectionResult:
    """A source's answer about a token (RFC 7662 section 2.2).

    Attributes:
        ends_at: Seconds since the epoch at which the source must be asked again.
        claims: The claims of an active token; None for a token that the source refuses.
        reason: Why the token is refused, for the audit log only.
    """

    ends_at: float
    claims: Mapping[str, Any] | None = field(default=None, repr=False)
    reason: str = ""


class IntrospectionStore(Protocol):
    """Storage for introspection results, which replicas may share. Any thread may call every method.

    Attributes:
        digest_key: Key of the digests: 16 to 64 secret bytes, the same for all that share the store.
    """

    digest_key: bytes

    def load(self, digest: bytes) -> IntrospectionResult | None:
        """Return the stored result for the digest, or None; the result may have expired."""
        ...

    def save(self, digest: bytes, result: IntrospectionResult) -> None:
        """Store a result until it expires."""
        ...


class MemoryIntrospections:
    """Results of one process, up to a fixed number of each kind; the least recently used goes first.

    Attributes:
        digest_key: Key of the digests, of this store alone.
    """

    def __init__(self, entries: int) -> None:
        self.digest_key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._yes: LRUCache[bytes, IntrospectionResult] = LRUCache(entries)
        self._no: LRUCache[bytes, IntrospectionResult] = LRUCache(entries)

    def load(self, digest: bytes) -> IntrospectionResult | None:
        """Return the stored result for the digest, or None; the result may have expired."""
        with self._lock:
            # An inactive result comes first: a user who has logged out stays logged out.
            return self._no.get(digest) or self._yes.get(digest)

    def save(self, digest: bytes, result: IntrospectionResult) -> None:
        """Store a result in place of an older one."""
        with self._lock:
            kept, other = (self._no, self._yes) if result.claims is None else (self._yes, self._no)
            other.pop(digest, None)
            kept[digest] = result


class IntrospectionCache:
    """Results of one source; one thread at a time asks about each token. Any thread may call.

    Args:
        source: Everything except the token that the result depends on, such as issuer and audience; part of each
            digest.
        store: Where results are stored.
        longest_s: Longest time in seconds for which a result is used. A result that seems to last longer was stored
            while a clock was ahead, and the source is asked again.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        source: str,
        store: IntrospectionStore,
        *,
        longest_s: float = math.inf,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._source = source.encode()
        self._store = store
        self._longest_s = longest_s
        self._now = now
        self._asking: SingleFlight[IntrospectionResult] = SingleFlight()

    def introspect(
        self, token: str, ask: Callable[[], IntrospectionResult], *, caller: str = ""
    ) -> IntrospectionResult:
        """Return the result for a token: the stored one, or what `ask` returns.

        Args:
            token: As presented.
            ask: Asks the source.
            caller: Who presents it, such as an address: one caller may use three quarters of the waiting threads. "": nobody.

        Raises:
            Overloaded: Too many threads wait for the source, in total or for this caller.
            Exception: What `ask` raises; nothing is stored then.
        """
        digest = self._digest(token)
        return self._load(digest) or self._asking.run(digest, lambda: self._ask(digest, ask), caller=caller)

    def revoke(self, token: str, *, until: float, reason: str) -> None:
        """Revoke a token here, whatever its source says: a local logout wins.

        Args:
            token: As presented.
            until: Seconds since the epoch; the token's own expiry, or later.
            reason: For the audit log.
        """
        self._store.save(self._digest(token), IntrospectionResult(until, None, reason))

    def why_refused(self, token: str) -> str:
        """Return why a token is refused, without asking the source; "" where no refusal is stored."""
        result = self._load(self._digest(token))
        return result.reason if result is not None and result.claims is None else ""

    def has_accepted(self, token: str) -> bool:
        """Return whether an active result for the token is stored; it may have expired."""
        result = self._store.load(self._digest(token))
        return result is not None and result.claims is not None

    def _digest(self, token: str) -> bytes:
        framed = len(self._source).to_bytes(4, "big") + self._source + token.encode()
        return blake2b(framed, key=self._store.digest_key, digest_size=32).digest()

    def _load(self, digest: bytes) -> IntrospectionResult | None:
        result = self._store.load(digest)
        if result is None or not 0 < result.ends_at - self._now() <= self._longest_s + _MAX_SKEW_S:
            return None
        return result

    def _ask(self, digest: bytes, ask: Callable[[], IntrospectionResult]) -> IntrospectionResult:
        # A caller that came just as the previous flight ended finds its result here.
        known = self._load(digest)
        if known is not None:
            return known
        result = ask()
        refused = self._load(digest)
        if refused is not None and refused.claims is None:
            # The user logged out while the source was being asked.
            return refused
        self._store.save(digest, result)
        return result


logger = logging.getLogger("compat_auth.redis")

_PURPOSE = "verdicts"
# Active and inactive results have separate keys, so that a late active result never replaces an inactive one.
_NO, _YES = "compat_auth:no:", "compat_auth:yes:"


class SharedIntrospections:
    """Results in Redis, and in this process for when Redis is unavailable. Any thread may use it.

    Args:
        connection: Connection to Redis.
        boxes: Encrypts the results.
        entries: How many results of each kind this process keeps itself.
        now: Seconds since the epoch.

    Attributes:
        digest_key: Key of the digests, the same in every replica.
    """

    def __init__(
        self,
        connection: RedisConnection,
        boxes: SealedBoxes,
        entries: int,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.digest_key = boxes.digest_key
        self._connection = connection
        self._boxes = boxes
        self._here = MemoryIntrospections(entries)
        self._now = now

    def load(self, digest: bytes) -> IntrospectionResult | None:
        """Return the stored result for the digest, or None; an inactive result comes before an active one."""
        here = self._here.load(digest)
        if here is not None and here.claims is None and self._now() < here.ends_at:
            return here
        keys = _keys(digest)
        try:
            boxes: list[bytes | None] = self._connection.ask(lambda redis: redis.mget(keys))
        except BackendUnavailable:
            return here
        for key, box in zip(keys, boxes, strict=True):
            result = self._open(key, box)
            if result is not None and self._now() < result.ends_at:
                self._here.save(digest, result)
                return result
        return here

    def save(self, digest: bytes, result: IntrospectionResult) -> None:
        """Store a result until it expires; an active result never replaces an inactive one."""
        self._here.save(digest, result)
        left_ms = math.floor((result.ends_at - self._now()) * 1000)
        if left_ms <= 0:
            return
        no, yes = _keys(digest)
        key = no if result.claims is None else yes
        content = json.dumps([result.ends_at, result.claims, result.reason]).encode()
        box = self._boxes.seal(content, belongs_to=key.encode())
        try:
            self._connection.ask(lambda redis: redis.set(key, box, px=left_ms))
        except BackendUnavailable as error:
            logger.info("%s; an introspection result is not shared", error)

    def _open(self, key: str, box: bytes | None) -> IntrospectionResult | None:
        content = None if box is None else self._boxes.open(box, belongs_to=key.encode())
        if content is None:
            return None
        ends_at, claims, reason = cast("tuple[float, dict[str, Any] | None, str]", json.loads(content))
        return IntrospectionResult(ends_at, claims, reason)


def open_introspections(settings: Settings, entries: int) -> IntrospectionStore:
    """Return the storage for results: in this process, and in Redis where `redis_url` is set.

    Raises:
        ConfigError: The URL is unusable, or there is no secret to encrypt with.
    """
    url = settings.redis_url.get_secret_value()
    if not url:
        return MemoryIntrospections(entries)
    boxes = SealedBoxes(sharing_secrets(settings), _PURPOSE)
    return SharedIntrospections(RedisConnection(url), boxes, entries)


def _keys(digest: bytes) -> tuple[str, str]:
    return _NO + digest.hex(), _YES + digest.hex()

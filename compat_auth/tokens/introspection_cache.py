"""What a remote source has said about opaque tokens, for as long as it may be believed.

A token is known here by a keyed digest only. A yes and a no are kept apart, so that guessed tokens cannot push out the
good ones; an answer that could not be had is not kept at all.
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

_MAX_SKEW_S = 30  # between replicas that share verdicts


@dataclass(frozen=True, slots=True)
class IntrospectionResult:
    """What a source says about a token.

    Attributes:
        ends_at: Seconds since the epoch from when on the source must be asked again.
        claims: What it tells about the token, or None where it refuses it.
        reason: Why it is refused, for the audit log only.
    """

    ends_at: float
    claims: Mapping[str, Any] | None = field(default=None, repr=False)
    reason: str = ""


class IntrospectionStore(Protocol):
    """Where verdicts are kept; the place to share them between replicas. Every method may be called from any thread.

    Attributes:
        digest_key: Of the digests; 16 to 64 secret bytes that whoever shares the store shares, too.
    """

    digest_key: bytes

    def load(self, digest: bytes) -> IntrospectionResult | None:
        """Return the verdict on the token of that digest, or None; it may have ended."""
        ...

    def save(self, digest: bytes, verdict: IntrospectionResult) -> None:
        """Keep a verdict until it ends."""
        ...


class MemoryIntrospections:
    """Verdicts of one process, at most so many of each kind; the one not used for longest goes first.

    Attributes:
        digest_key: Of the digests; of this store alone.
    """

    def __init__(self, entries: int) -> None:
        self.digest_key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._yes: LRUCache[bytes, IntrospectionResult] = LRUCache(entries)
        self._no: LRUCache[bytes, IntrospectionResult] = LRUCache(entries)

    def load(self, digest: bytes) -> IntrospectionResult | None:
        """Return the verdict on the token of that digest, or None; it may have ended."""
        with self._lock:
            # A no is looked for first: who has logged out stays out.
            return self._no.get(digest) or self._yes.get(digest)

    def save(self, digest: bytes, verdict: IntrospectionResult) -> None:
        """Keep a verdict in the place of an older one."""
        with self._lock:
            kept, other = (self._no, self._yes) if verdict.claims is None else (self._yes, self._no)
            other.pop(digest, None)
            kept[digest] = verdict


class IntrospectionCache:
    """Verdicts of one source; each token is asked about by one thread at a time. Any thread may call.

    Args:
        source: Everything that decides beside the token, such as issuer and audience; part of each digest.
        store: Where verdicts are kept.
        longest_s: For how long a verdict is believed at most. One that seems to end later was given while a clock was
            ahead, and is asked for anew.
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

    def judge(self, token: str, ask: Callable[[], IntrospectionResult], *, caller: str = "") -> IntrospectionResult:
        """Return the verdict on a token: the one that is kept, or what `ask` returns.

        Args:
            token: As presented.
            ask: Asks the source.
            caller: Who presents it, such as an address: one caller may use three quarters of the waiting threads. "": nobody.

        Raises:
            Overloaded: Too many threads wait for the source, in all or for this caller.
            Exception: What `ask` raises; nothing is kept then.
        """
        digest = self._digest(token)
        return self._load(digest) or self._asking.run(digest, lambda: self._ask(digest, ask), caller=caller)

    def refuse(self, token: str, *, until: float, reason: str) -> None:
        """Refuse a token from now on, whatever its source says: a local logout wins.

        Args:
            token: As presented.
            until: Seconds since the epoch; the token's own end, or later.
            reason: For the audit log.
        """
        self._store.save(self._digest(token), IntrospectionResult(until, None, reason))

    def why_refused(self, token: str) -> str:
        """Return why a token is refused, as far as that is known without asking; "" where it is not."""
        verdict = self._load(self._digest(token))
        return verdict.reason if verdict is not None and verdict.claims is None else ""

    def has_accepted(self, token: str) -> bool:
        """Return whether the source has said yes to a token, as far as that is remembered; it may have ended since."""
        verdict = self._store.load(self._digest(token))
        return verdict is not None and verdict.claims is not None

    def _digest(self, token: str) -> bytes:
        framed = len(self._source).to_bytes(4, "big") + self._source + token.encode()
        return blake2b(framed, key=self._store.digest_key, digest_size=32).digest()

    def _load(self, digest: bytes) -> IntrospectionResult | None:
        verdict = self._store.load(digest)
        if verdict is None or not 0 < verdict.ends_at - self._now() <= self._longest_s + _MAX_SKEW_S:
            return None
        return verdict

    def _ask(self, digest: bytes, ask: Callable[[], IntrospectionResult]) -> IntrospectionResult:
        # Whoever came while the flight before was landing finds its answer here.
        known = self._load(digest)
        if known is not None:
            return known
        verdict = ask()
        refused = self._load(digest)
        if refused is not None and refused.claims is None:
            # Logged out while the source was being asked.
            return refused
        self._store.save(digest, verdict)
        return verdict


logger = logging.getLogger("compat_auth.redis")

_PURPOSE = "verdicts"
# A yes and a no have keys of their own, so that no yes, however late, takes the place of a no.
_NO, _YES = "compat_auth:no:", "compat_auth:yes:"


class SharedIntrospections:
    """Verdicts in Redis, and in this process for when Redis is away. Any thread may use it.

    Args:
        connection: To Redis.
        boxes: Seal the verdicts.
        entries: How many of each kind this process remembers by itself.
        now: Seconds since the epoch.

    Attributes:
        digest_key: Of the digests, the same in every replica.
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
        """Return the verdict on the token of that digest, or None; a no of any replica comes before a yes."""
        here = self._here.load(digest)
        if here is not None and here.claims is None and self._now() < here.ends_at:
            return here
        keys = _keys(digest)
        try:
            boxes: list[bytes | None] = self._connection.ask(lambda redis: redis.mget(keys))
        except BackendUnavailable:
            return here
        for key, box in zip(keys, boxes, strict=True):
            verdict = self._open(key, box)
            if verdict is not None and self._now() < verdict.ends_at:
                self._here.save(digest, verdict)
                return verdict
        return here

    def save(self, digest: bytes, verdict: IntrospectionResult) -> None:
        """Keep a verdict until it ends; a yes does not take the place of a no."""
        self._here.save(digest, verdict)
        left_ms = math.floor((verdict.ends_at - self._now()) * 1000)
        if left_ms <= 0:
            return
        no, yes = _keys(digest)
        key = no if verdict.claims is None else yes
        content = json.dumps([verdict.ends_at, verdict.claims, verdict.reason]).encode()
        box = self._boxes.seal(content, belongs_to=key.encode())
        try:
            self._connection.ask(lambda redis: redis.set(key, box, px=left_ms))
        except BackendUnavailable as error:
            logger.info("%s; a verdict is not shared", error)

    def _open(self, key: str, box: bytes | None) -> IntrospectionResult | None:
        content = None if box is None else self._boxes.open(box, belongs_to=key.encode())
        if content is None:
            return None
        ends_at, claims, reason = cast("tuple[float, dict[str, Any] | None, str]", json.loads(content))
        return IntrospectionResult(ends_at, claims, reason)


def open_introspections(settings: Settings, entries: int) -> IntrospectionStore:
    """Return where verdicts are kept: in this process, and in Redis where `redis_url` names one.

    Raises:
        ConfigError: The URL cannot work, or there is no secret to seal with.
    """
    url = settings.redis_url.get_secret_value()
    if not url:
        return MemoryIntrospections(entries)
    boxes = SealedBoxes(sharing_secrets(settings), _PURPOSE)
    return SharedIntrospections(RedisConnection(url), boxes, entries)


def _keys(digest: bytes) -> tuple[str, str]:
    return _NO + digest.hex(), _YES + digest.hex()

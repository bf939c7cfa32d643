"""Verdicts that all replicas share in Redis, so that a token is asked about once for all of them.

Redis sees keyed digests of tokens, and boxes that only we can seal and open: whoever can read it learns nothing, and
whoever can write to it lets nobody in. What such a one can do is to take away a verdict, or to put an older one of the
last minutes back.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from typing import Any, cast

from compat_auth.config import Settings
from compat_auth.crypto.aead import SealedBoxes, sharing_secrets
from compat_auth.errors import BackendUnavailable
from compat_auth.store.redis.client import RedisConnection
from compat_auth.tokens.introspection_cache import MemoryVerdicts, Verdict, VerdictStore

logger = logging.getLogger("compat_auth.redis")

_PURPOSE = "verdicts"
# A yes and a no have keys of their own, so that no yes, however late, takes the place of a no.
_NO, _YES = "compat_auth:no:", "compat_auth:yes:"


class SharedVerdicts:
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
        self._here = MemoryVerdicts(entries)
        self._now = now

    def load(self, digest: bytes) -> Verdict | None:
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

    def save(self, digest: bytes, verdict: Verdict) -> None:
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

    def _open(self, key: str, box: bytes | None) -> Verdict | None:
        content = None if box is None else self._boxes.open(box, belongs_to=key.encode())
        if content is None:
            return None
        ends_at, claims, reason = cast("tuple[float, dict[str, Any] | None, str]", json.loads(content))
        return Verdict(ends_at, claims, reason)


def open_verdicts(settings: Settings, entries: int) -> VerdictStore:
    """Return where verdicts are kept: in this process, and in Redis where `redis_url` names one.

    Raises:
        ConfigError: The URL cannot work, or there is no secret to seal with.
    """
    url = settings.redis_url.get_secret_value()
    if not url:
        return MemoryVerdicts(entries)
    boxes = SealedBoxes(sharing_secrets(settings), _PURPOSE)
    return SharedVerdicts(RedisConnection(url), boxes, entries)


def _keys(digest: bytes) -> tuple[str, str]:
    return _NO + digest.hex(), _YES + digest.hex()

"""Short messages between the processes of all replicas, by way of Redis; each process knows whether it hears them all."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from compat_auth.crypto.aead import SealedBoxes
from compat_auth.errors import BackendUnavailable
from compat_auth.store.redis.client import RedisConnection

logger = logging.getLogger("compat_auth.redis")

CHANNEL = "compat_auth:revocations"
# A connection can be dead without a word: Redis is asked for one every PING_S, and counts as away after SILENCE_S.
PING_S = 0.2
SILENCE_S = 0.6
_PAUSE_S = 0.2
_SOMETHING_MISSED = b""

Heard = Callable[[bytes | None], None]


class RedisChannel:
    """Sends to all processes and hears what they send. Any thread may use it.

    Args:
        connection: To Redis.
        boxes: Encrypt the messages.
    """

    def __init__(self, connection: RedisConnection, boxes: SealedBoxes) -> None:
        self._connection = connection
        self._boxes = boxes
        self._lock = threading.Lock()
        self._pid = 0
        self._thread: threading.Thread | None = None
        self._is_connected = False
        self._is_undelivered = False
        self._has_complained = False
        self._ended = threading.Event()
        self._heard: Heard = _ignore

    @property
    def is_connected(self) -> bool:
        """Whether what others send is heard now; asking begins to listen."""
        self._listen_in_this_process()
        return self._is_connected

    def listen(self, heard: Heard) -> None:
        """Have each message shown to a callback, on a thread of its own once somebody asks `is_connected`.

        Args:
            heard: Must raise nothing. None: something may have been missed.
        """
        self._heard = heard

    def send(self, message: bytes) -> None:
        """Send a message to everybody who listens; what cannot be sent now is made up for later."""
        self._publish(self._connection.ask, message)

    def _publish(self, through: Callable[[Callable[[Any], Any]], Any], message: bytes) -> None:
        try:
            through(lambda redis: redis.publish(CHANNEL, self._boxes.seal(message)))
        except BackendUnavailable as error:
            self._is_undelivered = True
            logger.warning("%s; other processes hear of a revocation late", error)

    def close(self) -> None:
        """Listen no more; waits until the listening thread has ended."""
        self._ended.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join()
        self._connection.close()

    def _listen_in_this_process(self) -> None:
        # A thread does not cross a fork, and what it has said does not hold for the child.
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._is_connected = False
                    self._thread = threading.Thread(target=self._keep_listening, name="compat-auth-redis", daemon=True)
                    self._thread.start()
                    self._pid = os.getpid()

    def _keep_listening(self) -> None:
        is_away = False
        while not self._ended.is_set():
            try:
                self._connection.insist(self._follow)
            except BackendUnavailable as error:
                if self._is_connected or not is_away:
                    is_away = True
                    logger.warning("%s; until it can, what can be revoked is believed for a second only", error)
            finally:
                self._lose()
            self._ended.wait(_PAUSE_S)

    def _lose(self) -> None:
        if self._is_connected:
            # In this order: a cache that still believes for long gets the event afterwards.
            self._is_connected = False
            self._heard(None)

    def _follow(self, redis: Any) -> None:
        subscription = redis.pubsub()
        try:
            subscription.subscribe(CHANNEL)
            heard_at = asked_at = time.monotonic()
            while not self._ended.is_set():
                message = subscription.get_message(timeout=PING_S)
                now = time.monotonic()
                if message is not None:
                    heard_at = now
                    self._take(message)
                elif now - heard_at > SILENCE_S:
                    raise ConnectionError("silent")
                if now - asked_at >= PING_S:
                    asked_at = now
                    subscription.ping()
                    self._make_up()
        finally:
            subscription.close()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            # Also after redis-py has connected anew by itself: what was sent before went by.
            self._heard(None)
            self._is_connected = True
        elif message["type"] == "message":
            content = self._boxes.open(message["data"])
            if content is None and not self._has_complained:
                self._has_complained = True
                logger.warning(
                    "redis_url %s: a message that was not encrypted with our secret: is redis_secret the same in every "
                    "replica? Everything that was remembered is checked again at each such message",
                    self._connection.label,
                )
            self._heard(content or None)

    def _make_up(self) -> None:
        if self._is_undelivered:
            self._is_undelivered = False
            # Others rely on hearing us: no pause that spares requests a wait may hold this up, now that Redis is heard.
            self._publish(self._connection.insist, _SOMETHING_MISSED)


def _ignore(_message: bytes | None) -> None:
    """Hear nothing."""

"""Revocation events: announce that a user or a credential was revoked, so that caches forget it.

The revocation is stored first, where checks read it, and then announced: a check that begins after the announcement
finds it in the store, and one that began earlier hears of it while it runs.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from flask import Flask

from compat_auth.authn.grant_cache import GrantCache
from compat_auth.authn.shared import one_per_app
from compat_auth.config import Settings
from compat_auth.config.settings import sharing_secrets
from compat_auth.crypto.aead import SealedBoxes
from compat_auth.identity import Identity
from compat_auth.store.redis.client import RedisConnection
from compat_auth.store.redis.pubsub import RedisChannel

# Longest time for which a revocable answer is cached where events from elsewhere may not arrive.
UNHEARD_S = 1.0
# The same where they arrive: a sender may reach the store but not the channel.
HEARD_S = 60.0
_EXTENSION = "compat_auth_revocations"
_PURPOSE = "revocations"


@dataclass(frozen=True, slots=True)
class RevocationEvent:
    """A revocation: everything of a user, one credential, or both.

    Attributes:
        username: The user, or "".
        credential_id: `Identity.credential_id` of the credential, or "".
    """

    username: str = ""
    credential_id: str = ""

    def concerns(self, identity: Identity) -> bool:
        """Return whether a cached grant to the identity must be forgotten; in doubt, true."""
        if self.credential_id and self.credential_id == identity.credential_id:
            return True
        # Sources spell a user's name differently, and forgetting another user's grant costs only a check.
        return bool(self.username) and self.username.casefold() == identity.username.casefold()


def concerns(revocation: RevocationEvent | None, identity: Identity) -> bool:
    """Return whether the cached answer about an identity must be forgotten.

    Args:
        revocation: The announced revocation; None: one may have been missed, which matters only to answers that are
            cached because revocations are heard.
        identity: The accepted identity.
    """
    return bool(identity.credential_id) if revocation is None else revocation.concerns(identity)


def forget_revoked(cache: GrantCache[Any], revocation: RevocationEvent | None) -> None:
    """Drop the grants that a revocation concerns, in a time that does not depend on how many there are.

    Args:
        cache: Its grants have the owner `Identity.username` and the credential `Identity.credential_id`.
        revocation: See `concerns`.
    """
    if revocation is None:
        cache.forget_revocable()
        return
    if revocation.username:
        cache.forget_owner(revocation.username)
    if revocation.credential_id:
        cache.forget_credential(revocation.credential_id)


def believable_s(identity: Identity, for_s: float, *, took_s: float, hears_all: bool) -> float:
    """Return for how many seconds an accepted identity may be cached.

    Args:
        identity: The accepted identity.
        for_s: Seconds that its backend allows.
        took_s: Seconds since the check began: the data that it read may have changed right after.
        hears_all: See `RevocationEvents`.
    """
    if not identity.credential_id:
        return for_s
    return min(for_s, (HEARD_S if hears_all else UNHEARD_S) - took_s)


@dataclass(slots=True, eq=False)
class Check:
    """A check under way: when it began (monotonic seconds), and what has been revoked since; see `concerns` for None."""

    began: float
    heard: list[RevocationEvent | None] = field(default_factory=list["RevocationEvent | None"])

    def believable_s(self, identity: Identity, for_s: float, *, now: float, hears_all: bool) -> float:
        """Return for how many seconds the identity that it has accepted may be cached; 0 if a revocation concerns it.

        Args:
            identity: The accepted identity.
            for_s: Seconds that its backend allows.
            now: Monotonic seconds.
            hears_all: See `RevocationEvents`.
        """
        if any(concerns(revocation, identity) for revocation in self.heard):
            return 0
        return believable_s(identity, for_s, took_s=now - self.began, hears_all=hears_all)


Heard = Callable[[RevocationEvent | None], None]


class Channel(Protocol):
    """Channel to and from the other processes; see `compat_auth.store.redis.pubsub`."""

    @property
    def is_connected(self) -> bool:
        """Whether messages of others arrive now; the first question starts to listen."""
        ...

    def listen(self, heard: Callable[[bytes | None], None]) -> None:
        """Call back with each message, and with None if messages may have been missed."""
        ...

    def send(self, message: bytes) -> None:
        """Send a message to all others, now or as soon as possible."""
        ...


class RevocationEvents:
    """Announces revocations within a process, and through a channel to others. Any thread may use it.

    Args:
        channel: The channel; None: no other process hears them or is heard.
    """

    def __init__(self, channel: Channel | None = None) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[Heard, ...] = ()
        self._channel = channel
        if channel is not None:
            channel.listen(self._take)

    @classmethod
    def from_settings(cls, settings: Settings) -> RevocationEvents:
        """Return the revocation events of this process, connected to those of others where `redis_url` is set.

        Raises:
            ConfigError: The URL is unusable, or there is no secret to encrypt messages with.
        """
        url = settings.redis_url.get_secret_value()
        if not url:
            return cls()
        return cls(RedisChannel(RedisConnection(url), SealedBoxes(sharing_secrets(settings), _PURPOSE)))

    @property
    def hears_all(self) -> bool:
        """Whether announcements of other processes arrive here now; if not, cache for `UNHEARD_S` at most.

        The first question starts to listen, in the process that asks.
        """
        return self._channel is not None and self._channel.is_connected

    def announce(self, revocation: RevocationEvent) -> None:
        """Announce a revocation, so that caches forget; call it after the revocation is stored."""
        self._notify(revocation)
        if self._channel is not None:
            self._channel.send(json.dumps([revocation.username, revocation.credential_id]).encode())

    def listen(self, callback: Heard) -> None:
        """Register a callback for each revocation, for the life of the process; it may be called from any thread.

        Args:
            callback: Must be quick and raise nothing. None means that events may have been missed: forget everything
                that is cached for longer than `UNHEARD_S` because events arrive.
        """
        with self._lock:
            self._listeners = (*self._listeners, callback)

    def _take(self, message: bytes | None) -> None:
        self._notify(None if message is None else RevocationEvent(*json.loads(message)))

    def _notify(self, revocation: RevocationEvent | None) -> None:
        for callback in self._listeners:
            callback(revocation)


def revocation_events_of(app: Flask, settings: Settings | None = None) -> RevocationEvents:
    """Return the revocation events of a Flask app: one object, so that a revocation is known to the whole app at once.

    Args:
        app: The app.
        settings: Used where the app has no events yet; None: events of this process only.

    Raises:
        ConfigError: See `RevocationEvents.from_settings`.
    """
    return one_per_app(
        app, _EXTENSION, lambda: RevocationEvents() if settings is None else RevocationEvents.from_settings(settings)
    )

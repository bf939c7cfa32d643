"""The word that a user or a credential is no longer good, for whatever remembers what was checked a moment ago.

Who revokes writes that down first, where checks read it, and announces it then: a check that begins after the
announcement finds it written, and one that began before hears of it while under way.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from flask import Flask

from compat_auth.authn.shared import one_per_app
from compat_auth.config import Settings
from compat_auth.config.settings import sharing_secrets
from compat_auth.crypto.aead import SealedBoxes
from compat_auth.identity import Identity
from compat_auth.store.redis.client import RedisConnection
from compat_auth.store.redis.pubsub import RedisChannel

# How long what can be revoked is believed where a revocation elsewhere may not be heard.
UNHEARD_S = 1.0
# And where it is heard, unless its sender reaches the store but not the channel.
HEARD_S = 60.0
_EXTENSION = "compat_auth_revocations"
_PURPOSE = "revocations"


@dataclass(frozen=True, slots=True)
class RevocationEvent:
    """What is revoked: all that a user has, one credential, or both.

    Attributes:
        username: The user, or "".
        credential_id: `Identity.credential_id` of the credential, or "".
    """

    username: str = ""
    credential_id: str = ""

    def concerns(self, identity: Identity) -> bool:
        """Return whether a grant to the identity has to be forgotten; when in doubt, it has."""
        if self.credential_id and self.credential_id == identity.credential_id:
            return True
        # Sources spell the name of one user differently, and forgetting somebody else costs only a check.
        return bool(self.username) and self.username.casefold() == identity.username.casefold()


def concerns(revocation: RevocationEvent | None, identity: Identity) -> bool:
    """Return whether what is believed of an identity has to be forgotten.

    Args:
        revocation: What was heard; None: something may have been missed, which only matters to what is believed because
            revocations are heard.
        identity: Who was accepted.
    """
    return bool(identity.credential_id) if revocation is None else revocation.concerns(identity)


def believable_s(identity: Identity, for_s: float, *, took_s: float, hears_all: bool) -> float:
    """Return for how many seconds an accepted identity may be believed.

    Args:
        identity: Who was accepted.
        for_s: As its backend says.
        took_s: Seconds since the check began: what it read may have changed right after.
        hears_all: See `RevocationEvents`.
    """
    if not identity.credential_id:
        return for_s
    return min(for_s, (HEARD_S if hears_all else UNHEARD_S) - took_s)


Heard = Callable[[RevocationEvent | None], None]


class Channel(Protocol):
    """To and from the other processes; see `compat_auth.store.redis.pubsub`."""

    @property
    def is_connected(self) -> bool:
        """Whether what others send is heard now; asking begins to listen."""
        ...

    def listen(self, heard: Callable[[bytes | None], None]) -> None:
        """Have each message shown to a callback, and None where something may have been missed."""
        ...

    def send(self, message: bytes) -> None:
        """Send a message to all, now or as soon as possible."""
        ...


class RevocationEvents:
    """Tells all of a process what is revoked, and other processes by a channel; any thread may use it.

    Args:
        channel: None: other processes neither hear nor are heard.
    """

    def __init__(self, channel: Channel | None = None) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[Heard, ...] = ()
        self._channel = channel
        if channel is not None:
            channel.listen(self._take)

    @classmethod
    def from_settings(cls, settings: Settings) -> RevocationEvents:
        """Return the revocations of this process, joined to those of others where `redis_url` is set.

        Raises:
            ConfigError: The URL cannot work, or there is no secret to seal messages with.
        """
        url = settings.redis_url.get_secret_value()
        if not url:
            return cls()
        return cls(RedisChannel(RedisConnection(url), SealedBoxes(sharing_secrets(settings), _PURPOSE)))

    @property
    def hears_all(self) -> bool:
        """Whether what other processes announce is heard here now; where not, believe for `UNHEARD_S` at most.

        Asking begins to listen, in the process that asks.
        """
        return self._channel is not None and self._channel.is_connected

    def announce(self, revocation: RevocationEvent) -> None:
        """Let everybody who listens forget; to be called once the revocation is written down."""
        self._tell(revocation)
        if self._channel is not None:
            self._channel.send(json.dumps([revocation.username, revocation.credential_id]).encode())

    def listen(self, callback: Heard) -> None:
        """Have a callback called for each revocation, from any thread, for as long as the process lives.

        Args:
            callback: Must be quick and raise nothing. None: something may have been missed, so forget everything that
                is believed for longer than `UNHEARD_S` because revocations are heard.
        """
        with self._lock:
            self._listeners = (*self._listeners, callback)

    def _take(self, message: bytes | None) -> None:
        self._tell(None if message is None else RevocationEvent(*json.loads(message)))

    def _tell(self, revocation: RevocationEvent | None) -> None:
        for callback in self._listeners:
            callback(revocation)


def revocation_events_of(app: Flask, settings: Settings | None = None) -> RevocationEvents:
    """Return the revocations of a Flask app, so that what one part of it revokes is known to all others at once.

    Args:
        app: The app.
        settings: Where the app has none yet, these make them; None makes those of one process.

    Raises:
        ConfigError: See `RevocationEvents.from_settings`.
    """
    return one_per_app(
        app, _EXTENSION, lambda: RevocationEvents() if settings is None else RevocationEvents.from_settings(settings)
    )

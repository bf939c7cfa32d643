"""Signing keys: which one signs now, which ones are published, and how keys rotate.

A key is *next* (published, not yet signing), *current* (the latest that may sign), or *old* (published until it
retires). A verifier that seldom fetches a JWKS sees a new key late, so a key is published long before it signs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from compat_auth.concurrency.clock import unix_now
from compat_auth.errors import KeyFileError, NoActiveKey
from compat_auth.tokens.jose.jwk import (
    KeyAlgorithm,
    SigningKey,
    VerifyingKey,
    create_private_key,
    public_members,
    thumbprint,
)
from compat_auth.tokens.keys.jwks_merge import merge_jwks
from compat_auth.tokens.keys.key_file import (
    FileContent,
    StoredKey,
    create_key_file,
    file_signature,
    lock_key_file,
    read_key_file,
    replace_key_file,
)

__all__ = [
    "KeyRing",
    "create_keys",
    "current_key",
    "key_state",
    "merge_jwks",
    "public_jwks",
    "retire_key",
    "rotate_keys",
]

# Airflow 3.3 fetches a JWKS at most every 3600 s, and an unknown kid does not make it fetch earlier.
OVERLAP_S = 7200
_LOOK_EVERY_S = 1.0
_log = logging.getLogger("compat_auth.keys")


class KeyRing:
    """The keys of one file, in memory; follows changes of the file within a second. Any thread may call."""

    def __init__(
        self, path: str | Path, *, now: Callable[[], int] = unix_now, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Load the key file.

        Raises:
            KeyFileError: The file cannot be trusted or read.
        """
        self._path = Path(path)
        self._now = now
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._looked_at = monotonic()
        self._content = read_key_file(self._path)
        # Signature of the last bad file, so that one mistake is logged once.
        self._bad: tuple[int, ...] | None = None

    def signing_key(self) -> SigningKey:
        """Return the current key.

        Raises:
            NoActiveKey: No key may sign yet, or every key has retired.
        """
        key = current_key(self._keys(), self._now())
        if key is None:
            raise NoActiveKey(f"{self._path}: no key may sign now; run: compat-auth keys rotate --file {self._path}")
        return SigningKey(key.kid, key.algorithm, key.private)

    def public_jwks(self) -> list[dict[str, str]]:
        """Return the public JWK of every published key, newest first."""
        return public_jwks(self._keys(), self._now())

    def verifying_keys(self) -> Mapping[str, VerifyingKey]:
        """Return every published key by its kid, to verify our own signatures."""
        now = self._now()
        return {
            key.kid: VerifyingKey(key.kid, key.algorithm, key.private.public_key())
            for key in self._keys()
            if key.is_published(now)
        }

    def _keys(self) -> tuple[StoredKey, ...]:
        with self._lock:
            if self._monotonic() - self._looked_at >= _LOOK_EVERY_S:
                self._looked_at = self._monotonic()
                self._content = self._reload(self._content)
            return self._content.keys

    def _reload(self, content: FileContent) -> FileContent:
        signature: tuple[int, ...] = ()
        try:
            signature = file_signature(self._path.stat())
            if signature in (content.signature, self._bad):
                return content
            fresh = read_key_file(self._path)
        except (OSError, KeyFileError) as exc:
            if self._bad != signature:
                _log.error("key file not reloaded; the previous keys stay in use: %s", exc)
            self._bad = signature
            return content
        self._bad = None
        return fresh


def current_key(keys: tuple[StoredKey, ...], now: float) -> StoredKey | None:
    """Return the latest key that may sign at a time, or None."""
    return max((key for key in keys if key.may_sign(now)), key=lambda key: (key.signs_from, key.kid), default=None)


def key_state(key: StoredKey, keys: tuple[StoredKey, ...], now: float) -> str:
    """Return `next`, `current`, `old`, or `retired`."""
    if not key.is_published(now):
        return "retired"
    if key.signs_from > now:
        return "next"
    return "current" if key is current_key(keys, now) else "old"


def public_jwks(keys: tuple[StoredKey, ...], now: float) -> list[dict[str, str]]:
    """Return the public JWK of every key that is published at a time, newest first."""
    return [
        {**public_members(key.private.public_key()), "kid": key.kid, "alg": key.algorithm, "use": "sig"}
        for key in sorted(keys, key=lambda key: key.signs_from, reverse=True)
        if key.is_published(now)
    ]


def create_keys(path: Path, *, algorithm: KeyAlgorithm, now: int) -> StoredKey:
    """Write a new key file with one key that may sign at once, and return the key.

    Raises:
        KeyFileError: The file exists, or cannot be written.
    """
    key = _new_key(algorithm, created=now, signs_from=now)
    create_key_file(path, (key,))
    return key


def rotate_keys(path: Path, *, overlap_s: int = OVERLAP_S, now: int) -> StoredKey:
    """Add the key that will sign next, and return it; the current key gets a time to retire.

    Where no key may sign, the next key (the waiting one, or a new one) may sign at once.

    Args:
        path: The key file.
        overlap_s: Seconds from publication to the first signature, and from succession to retirement. If this is
            shorter than the verifiers' refresh interval, they refuse valid tokens for a while.
        now: Seconds since the epoch.

    Raises:
        KeyFileError: The file is bad, or a next key is already waiting.
    """
    with lock_key_file(path):
        stored = read_key_file(path).keys
        keys = tuple(key for key in stored if key.is_published(now))
        waiting = [key for key in keys if key.signs_from > now]
        current = current_key(keys, now)
        if current is None:
            latest = stored[-1].algorithm
            key = replace(waiting[0], signs_from=now) if waiting else _new_key(latest, created=now, signs_from=now)
            replace_key_file(path, (*(other for other in keys if other.kid != key.kid), key))
            return key
        if waiting:
            raise KeyFileError(
                f"{path}: key {waiting[-1].kid} is already next and signs in {waiting[-1].signs_from - now} s; "
                "wait for it, or retire it first"
            )
        key = _new_key(current.algorithm, created=now, signs_from=now + overlap_s)
        ending = replace(current, retires=key.signs_from + overlap_s)
        replace_key_file(path, (*(ending if other is current else other for other in keys), key))
        return key


def retire_key(path: Path, kid: str, *, force: bool = False, now: int) -> None:
    """Remove the key from the file at once: verifiers refuse its signatures as soon as they fetch the keys again.

    Raises:
        KeyFileError: There is no such key, or no key could sign without it and `force` is false.
    """
    with lock_key_file(path):
        keys = read_key_file(path).keys
        rest = tuple(key for key in keys if key.kid != kid)
        if len(rest) == len(keys):
            raise KeyFileError(f"{path}: no key {kid!r}; see: compat-auth keys list --file {path}")
        if not rest:
            raise KeyFileError(
                f"{path}: {kid} is the only key; run: compat-auth keys rotate --file {path}, or delete the file"
            )
        if current_key(rest, now) is None and current_key(keys, now) is not None and not force:
            raise KeyFileError(
                f"{path}: without {kid} no key may sign, and nobody could log in until the next key signs; "
                "wait for the next key, or use --force and then: compat-auth keys rotate"
            )
        # The newest key has no retirement time: with its successor removed, its retirement is cancelled.
        *older, newest = rest
        replace_key_file(path, (*older, replace(newest, retires=None)))


def _new_key(algorithm: KeyAlgorithm, *, created: int, signs_from: int) -> StoredKey:
    private = create_private_key(algorithm)
    # Operators paste a kid after `compat-auth keys retire`; one with a leading dash would be read as an option.
    while (kid := thumbprint(private.public_key())).startswith("-"):
        private = create_private_key(algorithm)
    return StoredKey(private, created, signs_from, None, kid)

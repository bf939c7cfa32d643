"""In-memory denylist of revoked JWTs, at most one second old.

An upstream verifies its own JWTs and accepts each until it expires. The gateway therefore checks this list first, so
that a revoked JWT never reaches the upstream. The entries come from the store; before an answer
it is read again if it was read too long ago.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping

from compat_auth.authn.revocation_events import UNHEARD_S, RevocationEvent, RevocationEvents
from compat_auth.concurrency.circuit_breaker import PATIENCE_S
from compat_auth.concurrency.clock import unix_now
from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable, CompatAuthError
from compat_auth.store.migration import open_store
from compat_auth.store.schema import JTI_LENGTH
from compat_auth.store.tables.denylist import ALL_UP_TO, DenylistEntry, DenylistRows, Reading
from compat_auth.tokens.jose.unverified_claims import ClaimedToken, read_claimed

# How often to read the store: seldom where every revocation event arrives, else often enough for one second.
_HEARING_S = 30.0
_PLAIN = re.compile(rb"[A-Za-z0-9_.=-]+\Z")
_MAX_ATTEMPTS = 3
_SWEEP_PAUSE_S = 3600.0
# An entry is kept for a day after it expires, by two clocks, because either clock can be set to another time.
_KEEP_S = 86400
_MAX_DRIFT_S = 60.0
_TIDY_PAUSE_S = 60.0
_MAX_NOT_REVOKED = 10_000
_log = logging.getLogger("compat_auth.denials")


class Denylist:
    """The revoked JWTs. Any thread may use it; call `up_to_date` only on the event loop.

    Args:
        rows: The store.
        revocations: Announces changes to other processes and replicas.
        now: Seconds since the epoch.
        monotonic: Clock for the age of the last read, in seconds.
    """

    def __init__(
        self,
        rows: DenylistRows,
        revocations: RevocationEvents,
        *,
        now: Callable[[], int] = unix_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rows = rows
        self._revocations = revocations
        self._now = now
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._by_kind: dict[str, dict[str, DenylistEntry]] = {"jti": {}, "sub": {}, "digest": {}}
        # Counts the states of the entries, and of tokens that are not among them the state in which that was found:
        # a client shows its token with every request, and to read its claims costs more than all else.
        self._state = 0
        self._not_revoked: dict[bytes, int] = {}
        self._key = secrets.token_bytes(32)
        # Until when each entry is kept, by the monotonic clock.
        self._kept_until: dict[tuple[str, str], float] = {}
        self._lacking: list[DenylistEntry] = []
        self._version = -1
        self._read_at = float("-inf")
        self._heard = 0
        self._read_heard = -1
        self._swept, self._swept_at = monotonic(), now()
        self._tidied = self._swept
        self._reading: asyncio.Future[None] | None = None
        self._opening: asyncio.Future[None] | None = None
        revocations.listen(self._hear)

    @classmethod
    def from_settings(cls, settings: Settings, revocations: RevocationEvents) -> Denylist:
        """Return the denylist in `database_url`; the database is opened at first use.

        Raises:
            ConfigError: The URL cannot work.
        """
        return cls(DenylistRows(open_store(settings.database_url.get_secret_value())), revocations)

    def revoke(self, *what: DenylistEntry) -> None:
        """Revoke tokens: in this process at once, in every other within a second.

        Raises:
            BackendUnavailable: The entries could not be stored, so nothing is revoked.
        """
        self.rows.revoke(what)
        with self._lock:
            # Remembered before the next read: in between, somebody may restore the store to an older state.
            self._add(list(what))
        self.announce()

    def announce(self) -> None:
        """Announce that the store has changed."""
        # The event names no credential: no grant was cached for these tokens, so no cache entry has to go.
        self._revocations.announce(RevocationEvent())

    @property
    def is_stale(self) -> bool:
        """Whether the store must be read before `is_revoked` is reliable."""
        return self.reliable_s <= 0

    @property
    def reliable_s(self) -> float:
        """For how many seconds `is_revoked` is reliable without another read of the store; 0 where it is not."""
        if self._read_heard != self._heard:
            return 0.0
        believed_s = _HEARING_S if self._revocations.hears_all else UNHEARD_S
        return max(0.0, believed_s - (self._monotonic() - self._read_at))

    def open(self) -> None:
        """Start the first read of the store, before it can be lost; call on the event loop."""
        # Kept, because the event loop holds only weak references to its tasks.
        self._opening = asyncio.ensure_future(self._look_first())

    def close(self) -> None:
        """Close the connections."""
        self.rows.close()

    async def _look_first(self) -> None:
        try:
            await self.up_to_date()
        except CompatAuthError as error:
            _log.warning("the denylist is not read yet: %s", error)

    async def up_to_date(self) -> None:
        """Wait until the entries in memory are at most a second old; asks the store at most once at a time.

        Raises:
            BackendUnavailable: The store could not be asked.
        """
        for _ in range(_MAX_ATTEMPTS):
            if not self.is_stale:
                return
            if self._reading is None:
                self._reading = asyncio.ensure_future(asyncio.to_thread(self.read))
                self._reading.add_done_callback(self._end_reading)
            try:
                await asyncio.wait_for(asyncio.shield(self._reading), PATIENCE_S)
            except TimeoutError:
                raise BackendUnavailable(f"database_url: no answer within {PATIENCE_S:g} s") from None

    def read(self) -> None:
        """Read the store. Entries in memory stay, even where the store has lost them.

        Raises:
            BackendUnavailable: The store could not be asked.
        """
        began, heard, known = self._monotonic(), self._heard, self._version
        if not self.rows.is_there:
            # There has never been a store, so no token was ever revoked.
            self._read_at, self._read_heard = began, heard
            return
        self._sweep(began)
        reading = self.rows.read(known)
        with self._lock:
            # An older, slower read may add what it has seen, but decides nothing.
            is_newest = began >= self._read_at
            if is_newest and reading.is_whole:
                self._compare(reading)
            self._add(reading.found)
            if is_newest:
                self._version, self._read_at, self._read_heard = reading.version, began, heard
        if self._lacking:
            self._write_back()

    def _compare(self, reading: Reading) -> None:
        """Find the entries that this process knows and a complete reading of the store lacks."""
        if reading.version < self._version:
            _log.warning(
                "the store is in an older state than at the last read, or it is another store: was it restored, or "
                "has a standby taken over? Revocations since then are lost unless a running process knows them; "
                "see: compat-auth db accept --help"
            )
        found = {(entry.kind, entry.key): entry for entry in reading.found}
        over = self._now() - _KEEP_S
        self._lacking = [
            entry
            for known in self._by_kind.values()
            for entry in known.values()
            if entry.expires > over and _is_weaker(found.get((entry.kind, entry.key)), entry)
        ]

    def _write_back(self) -> None:
        with self._lock:
            lacking, self._lacking = self._lacking, []
        try:
            self.rows.revoke(lacking)
        except BackendUnavailable as error:
            # This process still refuses these tokens, and tries again at the next read.
            _log.warning("%d revocations that the store lacks are not written back: %s", len(lacking), error)
            with self._lock:
                self._lacking = self._lacking or lacking
        else:
            _log.warning("%d revocations that the store lacked are written back", len(lacking))
            self.announce()

    def _add(self, found: list[DenylistEntry]) -> None:
        now, monotonic = self._now(), self._monotonic()
        if not found and monotonic - self._tidied < _TIDY_PAUSE_S:
            return
        self._tidied = monotonic
        by_kind = {kind: dict(known) for kind, known in self._by_kind.items()}
        for (kind, key), until in list(self._kept_until.items()):
            # Both clocks must agree, because either can be set.
            if monotonic >= until and now >= by_kind[kind][key].expires + _KEEP_S:
                del by_kind[kind][key], self._kept_until[kind, key]
        for entry in found:
            before = by_kind[entry.kind].get(entry.key)
            if before is not None:
                entry = _stronger(before, entry)  # noqa: PLW2901  # the loop's own name would say less
            by_kind[entry.kind][entry.key] = entry
            self._kept_until[entry.kind, entry.key] = monotonic + max(0, entry.expires - now) + _KEEP_S
        self._by_kind = by_kind
        # After the entries: what is found in the meantime counts as found before.
        self._state += 1

    def _sweep(self, monotonic: float) -> None:
        passed_s = monotonic - self._swept
        if passed_s < _SWEEP_PAUSE_S:
            return
        now = self._now()
        is_steady = abs(now - self._swept_at - passed_s) <= _MAX_DRIFT_S
        self._swept, self._swept_at = monotonic, now
        if is_steady:
            self.rows.forget_older(now - _KEEP_S)

    def is_revoked(self, token: str) -> bool:
        """Return whether a token is revoked, as of the last read.

        The signature is not compared, so every variant of the signature is revoked too: the signed claims are the same.
        """
        # Before the entries, see `_add`.
        state, by_kind = self._state, self._by_kind
        if not any(by_kind.values()):
            return False
        key = hashlib.blake2b(token.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32).digest()
        if self._not_revoked.get(key) == state:
            return False
        is_revoked = self._is_among(by_kind, token)
        if not is_revoked:
            if len(self._not_revoked) >= _MAX_NOT_REVOKED:
                self._not_revoked.clear()
            self._not_revoked[key] = state
        return is_revoked

    @staticmethod
    def _is_among(by_kind: Mapping[str, Mapping[str, DenylistEntry]], token: str) -> bool:
        if by_kind["digest"] and signed_digest(token) in by_kind["digest"]:
            return True
        claims = read_claimed(token)
        if claims is None:
            return False
        if any(name in by_kind["jti"] for name in names_of(claims, token)):
            return True
        of_many = (by_kind["sub"].get(claims.sub), by_kind["digest"].get(ALL_UP_TO))
        return any(
            entry is not None and (claims.issued is None or claims.issued <= entry.not_before) for entry in of_many
        )

    def is_revoked_value(self, value: bytes) -> bool:
        """Return whether a cookie's value is a revoked token, or is in a form that cannot be checked."""
        if not any(self._by_kind.values()):
            return False
        return not is_plain(value) or self.is_revoked(value.decode("ascii"))

    def _end_reading(self, reading: asyncio.Future[None]) -> None:
        self._reading = None
        if not reading.cancelled():
            # Waiting callers get the error; without any, asyncio would log that nobody retrieved it.
            reading.exception()

    def _hear(self, revocation: RevocationEvent | None) -> None:
        del revocation
        with self._lock:
            self._heard += 1


def _stronger(one: DenylistEntry, other: DenylistEntry) -> DenylistEntry:
    expires, not_before = max(one.expires, other.expires), max(one.not_before, other.not_before)
    return DenylistEntry(one.kind, one.key, expires, not_before)


def _is_weaker(stored: DenylistEntry | None, known: DenylistEntry) -> bool:
    return stored is None or _stronger(stored, known) != stored


def is_plain(value: bytes) -> bool:
    """Return whether every parser reads a cookie's value alike: a quoted one can spell a token in many ways (RFC 2109)."""
    return _PLAIN.match(value) is not None


def signed_digest(token: str) -> str:
    """Return the digest that revokes a token without `jti`; for a JWT, of its signed text: signatures have variants."""
    return digest_of(token.rpartition(".")[0] if token.count(".") == 2 else token).hex()


def names_of(claims: ClaimedToken, token: str) -> tuple[str, ...]:
    """Return the names by which the store may know a JWT: the `jti`, or digests that every spelling of it has.

    Without a usable `jti` a new row has the first; rows of older versions have the second, the digest of the whole text.
    """
    if 0 < len(claims.jti) <= JTI_LENGTH:
        return (claims.jti,)
    head, _, spelling = token.rpartition(".")
    try:
        # At least as lenient as PyJWT is; superfluous padding is ignored.
        signature = base64.urlsafe_b64decode(spelling.encode("utf-8", "surrogatepass") + b"==")
    except ValueError:
        usual = token
    else:
        usual = f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode('ascii')}"
    return signed_digest(token), digest_of(usual).hex()


def digest_of(token: str) -> bytes:
    """Return the SHA-256 digest by which the store knows a token; the store never holds the token itself."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()

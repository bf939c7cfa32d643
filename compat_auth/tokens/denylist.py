"""Tokens that are no longer good although their signature is: kept in memory, and never older than a second.

The upstream judges its own JWTs, and takes one for good until it ends. What was revoked here does not get that far.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable

from compat_auth.authn.revocation_events import UNHEARD_S, RevocationEvent, RevocationEvents
from compat_auth.concurrency.circuit_breaker import PATIENCE_S
from compat_auth.concurrency.clock import unix_now
from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable, CompatAuthError
from compat_auth.store.migration import open_store
from compat_auth.store.tables.denylist import ALL_UP_TO, DenylistEntry, DenylistRows, Reading
from compat_auth.tokens.jose.unverified_claims import read_claimed

# Where every revocation is heard, the store is looked at so seldom; else so often that a second is kept.
_HEARING_S = 30.0
_PLAIN = re.compile(rb"[A-Za-z0-9_.=-]+\Z")
_MAX_ATTEMPTS = 3
_SWEEP_PAUSE_S = 3600.0
# Nothing is forgotten sooner after its end, and nothing by a clock that has just been set.
_KEEP_S = 86400
_MAX_DRIFT_S = 60.0
_TIDY_PAUSE_S = 60.0
_log = logging.getLogger("compat_auth.denials")


class Denylist:
    """What is no longer good. Any thread may use it, `up_to_date` only the event loop.

    Args:
        rows: The store.
        revocations: Where changes are announced.
        now: Seconds since the epoch.
        monotonic: Clock for what is believed without asking, in seconds.
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
        # Until when each is kept, by the monotonic clock.
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
        """Return the denials in `database_url`; it is opened at first use.

        Raises:
            ConfigError: The URL cannot work.
        """
        return cls(DenylistRows(open_store(settings.database_url.get_secret_value())), revocations)

    def deny(self, *what: DenylistEntry) -> None:
        """Refuse tokens from now on, here at once and everywhere within a second.

        Raises:
            BackendUnavailable: It could not be written down, so nothing is denied.
        """
        self.rows.deny(what)
        with self._lock:
            # Known before it is read: the store may be restored to an older state in between.
            self._add(list(what))
        self.announce()

    def announce(self) -> None:
        """Let everybody know that the store has changed."""
        # It names no credential: nobody remembers a grant for these tokens, so nothing has to be forgotten.
        self._revocations.announce(RevocationEvent())

    @property
    def is_stale(self) -> bool:
        """Whether the store has to be looked at before `refuses` can be believed."""
        if self._read_heard != self._heard:
            return True
        believed_s = _HEARING_S if self._revocations.hears_all else UNHEARD_S
        return self._monotonic() - self._read_at >= believed_s

    def open(self) -> None:
        """Begin to look at the store, so that this process knows it before it can be lost; called on the event loop."""
        # Kept, for the loop does not hold what it runs.
        self._opening = asyncio.ensure_future(self._look_first())

    def close(self) -> None:
        """Give the connections back."""
        self.rows.close()

    async def _look_first(self) -> None:
        try:
            await self.up_to_date()
        except CompatAuthError as error:
            _log.warning("what was revoked is not known yet: %s", error)

    async def up_to_date(self) -> None:
        """Return when what is known is at most a second old; asks the store at most once at a time.

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
        """Look at the store. What is known stays known, whatever the store has forgotten.

        Raises:
            BackendUnavailable: It could not be asked.
        """
        began, heard, known = self._monotonic(), self._heard, self._version
        if not self.rows.is_there:
            # There never was a store, so nothing was ever denied.
            self._read_at, self._read_heard = began, heard
            return
        self._sweep(began)
        reading = self.rows.read(known)
        with self._lock:
            # A slower reading of before adds what it has seen, and decides nothing.
            is_newest = began >= self._read_at
            if is_newest and reading.is_whole:
                self._compare(reading)
            self._add(reading.found)
            if is_newest:
                self._version, self._read_at, self._read_heard = reading.version, began, heard
        if self._lacking:
            self._write_back()

    def _compare(self, reading: Reading) -> None:
        """Find out what this process knows and a store does not that was read as a whole."""
        if reading.version < self._version:
            _log.warning(
                "the store is in an older state than the one that was read before, or is another: was it restored, or "
                "has a standby taken over? Revocations since then that no running process knows are lost; "
                "see: compat-auth db accept --help"
            )
        found = {(denial.kind, denial.key): denial for denial in reading.found}
        over = self._now() - _KEEP_S
        self._lacking = [
            denial
            for known in self._by_kind.values()
            for denial in known.values()
            if denial.expires > over and _is_weaker(found.get((denial.kind, denial.key)), denial)
        ]

    def _write_back(self) -> None:
        with self._lock:
            lacking, self._lacking = self._lacking, []
        try:
            self.rows.deny(lacking)
        except BackendUnavailable as error:
            # Refused here all the same, and tried again with the next look.
            _log.warning("%d revocations that the store lacks are not written back: %s", len(lacking), error)
            with self._lock:
                self._lacking = self._lacking or lacking
        else:
            _log.warning("%d revocations that the store lacked are written back", len(lacking))
            self.announce()

    def _add(self, found: list[DenylistEntry]) -> None:
        now, moment = self._now(), self._monotonic()
        if not found and moment - self._tidied < _TIDY_PAUSE_S:
            return
        self._tidied = moment
        by_kind = {kind: dict(known) for kind, known in self._by_kind.items()}
        for (kind, key), until in list(self._kept_until.items()):
            # Both clocks must say so: one of them can be set.
            if moment >= until and now >= by_kind[kind][key].expires + _KEEP_S:
                del by_kind[kind][key], self._kept_until[kind, key]
        for denial in found:
            before = by_kind[denial.kind].get(denial.key)
            if before is not None:
                denial = _stronger(before, denial)  # noqa: PLW2901  # the loop's own name would say less
            by_kind[denial.kind][denial.key] = denial
            self._kept_until[denial.kind, denial.key] = moment + max(0, denial.expires - now) + _KEEP_S
        self._by_kind = by_kind

    def _sweep(self, moment: float) -> None:
        passed_s = moment - self._swept
        if passed_s < _SWEEP_PAUSE_S:
            return
        now = self._now()
        is_steady = abs(now - self._swept_at - passed_s) <= _MAX_DRIFT_S
        self._swept, self._swept_at = moment, now
        if is_steady:
            self.rows.forget_older(now - _KEEP_S)

    def refuses(self, token: str) -> bool:
        """Return whether a token of anybody's is no longer good; as far as the last reading knows.

        The signature is not looked at, so a variant of it denies as well: who signed has signed these very claims.
        """
        by_kind = self._by_kind
        if not any(by_kind.values()):
            return False
        if by_kind["digest"] and signed_digest(token) in by_kind["digest"]:
            return True
        claims = read_claimed(token)
        if claims is None:
            return False
        if claims.jti in by_kind["jti"]:
            return True
        of_many = (by_kind["sub"].get(claims.sub), by_kind["digest"].get(ALL_UP_TO))
        return any(
            denial is not None and (claims.issued is None or claims.issued <= denial.not_before) for denial in of_many
        )

    def refuses_value(self, value: bytes) -> bool:
        """Return whether a cookie's value is a token that is no longer good, or cannot be told not to be."""
        if not any(self._by_kind.values()):
            return False
        # A quoted value may spell the same token in many ways (RFC 2109).
        return _PLAIN.match(value) is None or self.refuses(value.decode("ascii"))

    def _end_reading(self, reading: asyncio.Future[None]) -> None:
        self._reading = None
        if not reading.cancelled():
            # Whoever waits is told; where nobody does any more, nobody needs to be.
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


def signed_digest(token: str) -> str:
    """Return what a token is denied by that has no name: of a JWT what was signed, for a signature may have two forms."""
    return digest_of(token.rpartition(".")[0] if token.count(".") == 2 else token).hex()


def digest_of(token: str) -> bytes:
    """Return what a token is known by in the store, which holds no token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()

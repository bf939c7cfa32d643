"""Tokens that are no longer good although their signature is: kept in memory, and never older than a second.

The upstream judges its own JWTs, and takes one for good until it ends. What was revoked here does not get that far.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
import time
from collections.abc import Callable

from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable
from compat_auth.keys import unix_now
from compat_auth.outage import PATIENCE_S
from compat_auth.revocation import UNHEARD_S, Revocation, Revocations
from compat_auth.store.denial_rows import Denial, DenialRows
from compat_auth.store.migration import open_store
from compat_auth.tokens import read_payload

# Where every revocation is heard, the store is looked at so seldom; else so often that a second is kept.
_HEARING_S = 30.0
_PLAIN = re.compile(rb"[A-Za-z0-9_.=-]+\Z")
_MAX_ATTEMPTS = 3
_SWEEP_PAUSE_S = 3600.0


class Denials:
    """What is no longer good. Any thread may use it, `up_to_date` only the event loop.

    Args:
        rows: The store.
        revocations: Where changes are announced.
        now: Seconds since the epoch.
        monotonic: Clock for what is believed without asking, in seconds.
    """

    def __init__(
        self,
        rows: DenialRows,
        revocations: Revocations,
        *,
        now: Callable[[], int] = unix_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rows = rows
        self._revocations = revocations
        self._now = now
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._by_kind: dict[str, dict[str, Denial]] = {"jti": {}, "sub": {}, "digest": {}}
        self._version = -1
        self._read_at = float("-inf")
        self._heard = 0
        self._read_heard = -1
        self._swept = monotonic()
        self._reading: asyncio.Future[None] | None = None
        revocations.listen(self._hear)

    @classmethod
    def from_settings(cls, settings: Settings, revocations: Revocations) -> Denials:
        """Return the denials in `database_url`; it is opened at first use.

        Raises:
            ConfigError: The URL cannot work.
        """
        return cls(DenialRows(open_store(settings.database_url.get_secret_value())), revocations)

    def deny(self, *what: Denial) -> None:
        """Refuse tokens from now on, here at once and everywhere within a second.

        Raises:
            BackendUnavailable: It could not be written down, so nothing is denied.
        """
        self.rows.deny(what)
        self.announce()

    def announce(self) -> None:
        """Let everybody know that the store has changed."""
        # It names no credential: nobody remembers a grant for these tokens, so nothing has to be forgotten.
        self._revocations.announce(Revocation())

    @property
    def is_stale(self) -> bool:
        """Whether the store has to be looked at before `refuses` can be believed."""
        if self._read_heard != self._heard:
            return True
        believed_s = _HEARING_S if self._revocations.hears_all else UNHEARD_S
        return self._monotonic() - self._read_at >= believed_s

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
            except asyncio.TimeoutError:
                raise BackendUnavailable(f"database_url: no answer within {PATIENCE_S:g} s") from None

    def read(self) -> None:
        """Look at the store.

        Raises:
            BackendUnavailable: It could not be asked.
        """
        began, heard, now = self._monotonic(), self._heard, self._now()
        after, found = self._version, list[Denial]()
        if self.rows.is_there:
            if began - self._swept >= _SWEEP_PAUSE_S:
                self._swept = began
                self.rows.forget_older(now)
            after, found = self.rows.read(self._version, now)
        with self._lock:
            by_kind = {
                kind: {key: denial for key, denial in known.items() if denial.expires > now}
                for kind, known in self._by_kind.items()
            }
            for denial in found:
                by_kind[denial.kind][denial.key] = denial
            # A slower reading of before must not bring back what it saw.
            if after >= self._version:
                self._by_kind, self._version = by_kind, after
                self._read_at, self._read_heard = began, heard

    def refuses(self, token: str) -> bool:
        """Return whether a token of anybody's is no longer good; as far as the last reading knows.

        The signature is not looked at, so a variant of it denies as well: who signed has signed these very claims.
        """
        by_kind = self._by_kind
        if by_kind["digest"] and signed_digest(token) in by_kind["digest"]:
            return True
        if not by_kind["jti"] and not by_kind["sub"]:
            return False
        claims = read_payload(token)
        if claims is None:
            return False
        if claims.get("jti") in by_kind["jti"]:
            return True
        denial = by_kind["sub"].get(str(claims.get("sub")))
        if denial is None:
            return False
        issued = claims.get("iat")
        return not isinstance(issued, int) or issued <= denial.not_before

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

    def _hear(self, revocation: Revocation | None) -> None:
        del revocation
        with self._lock:
            self._heard += 1


def signed_digest(token: str) -> str:
    """Return what a token is denied by that has no name: of a JWT what was signed, for a signature may have two forms."""
    return digest_of(token.rpartition(".")[0] if token.count(".") == 2 else token).hex()


def digest_of(token: str) -> bytes:
    """Return what a token is known by in the store, which holds no token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()

"""JWTs that a front proxy gets with a forward-auth answer.

A front proxy may keep them, so each is recorded as issued, once: it ends when its credential ends. A JWT allows
everything that its owner may do. A limited credential therefore gets one that lives for seconds, and so does a caller who
acts for a user.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field, replace

from cachetools import LRUCache

from compat_auth.concurrency.clock import unix_now
from compat_auth.errors import BackendUnavailable, NotAuthenticated
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Granted
from compat_auth.http.request import GateRequest
from compat_auth.scopes import ALL
from compat_auth.tokens.issued import IssuedTokens

# The front proxy uses it at once. The upstream's clock may be a few seconds behind ours.
LIMITED_TTL_S = 10
# The rest is for the way to the upstream.
LIMITED_REUSE_S = 5


@dataclass(frozen=True, slots=True)
class _Kept:
    bearer: bytes = field(repr=False)
    until: float


class ForwardAuthTokens:
    """Used on one event loop.

    Args:
        issued: Records tokens.
        decider: Renews and checks grants.
        entries: Tokens to remember.
        now: Seconds since the epoch.
    """

    def __init__(
        self, issued: IssuedTokens, decider: Decider, *, entries: int = 10_000, now: Callable[[], float] = unix_now
    ) -> None:
        self._issued = issued
        self._decider = decider
        self._now = now
        self._written: LRUCache[bytes, bool] = LRUCache(entries)
        self._limited: LRUCache[Hashable, _Kept] = LRUCache(entries)
        self._flights: dict[Hashable, asyncio.Task[bytes]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def bearer_for(self, request: GateRequest, granted: Granted) -> bytes:
        """Return the Authorization value for the front proxy.

        Args:
            request: The original request.
            granted: The decision.

        Raises:
            NotAuthenticated: The credential has ended meanwhile.
            BackendUnavailable: The token could not be recorded.
            CompatAuthError: See `Strategy.issue`.
        """
        scopes = granted.identity.scopes
        is_limited = scopes is not None and not any(str(scope) == ALL for scope in scopes)
        # A caller that is locked out loses its own tokens, and not those of the users for whom it has acted.
        if is_limited or granted.identity.actor:
            return await self._limited_for(request, granted)
        bearer = granted.bearer
        if self._is_ended(bearer):
            renewed = await self._decider.renew(request.presented(), granted)
            bearer = granted.bearer if renewed is None else renewed.bearer
        if bearer not in self._written:
            await self._fly(bearer, lambda: self._write_down(request, granted, bearer))
        return bearer

    def recorded_bearer(self, granted: Granted) -> bytes | None:
        """Return the Authorization value that `bearer_for` returns, or None where that has to wait for something."""
        bearer, identity = granted.bearer, granted.identity
        if identity.scopes is not None or identity.actor or self._is_ended(bearer) or bearer not in self._written:
            return None
        return bearer

    async def _limited_for(self, request: GateRequest, granted: Granted) -> bytes:
        kept = self._limited.get(granted.identity)
        if kept is not None and self._now() < kept.until and not self._is_ended(kept.bearer):
            return kept.bearer
        return await self._fly(granted.identity, lambda: self._give(request, granted))

    async def _write_down(self, request: GateRequest, granted: Granted, bearer: bytes) -> bytes:
        token = bearer.partition(b" ")[2].decode("ascii")
        await self._decider.lanes.run(request.client, lambda: self._issued.record(granted.identity, token))
        await _require_still_good(self._decider, request, granted)
        self._written[bearer] = True
        return bearer

    async def _give(self, request: GateRequest, granted: Granted) -> bytes:
        identity, now = granted.identity, int(self._now())
        ends = now + LIMITED_TTL_S if identity.expires_at is None else min(now + LIMITED_TTL_S, identity.expires_at)
        short = replace(identity, expires_at=ends)
        credential = request.shown.credential()
        token = await self._decider.lanes.run(request.client, lambda: self._issued.issue(short, credential, "token"))
        await _require_still_good(self._decider, request, granted)
        bearer = b"Bearer " + token.value.encode("ascii")
        self._limited[identity] = _Kept(bearer, min(now + LIMITED_REUSE_S, ends))
        return bearer

    async def _fly(self, key: Hashable, work: Callable[[], Awaitable[bytes]]) -> bytes:
        """Do the work once for all callers that ask for the same key meanwhile."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.ensure_future(work())
            flight.add_done_callback(lambda done: self._land(key, done))
        # Shielded: the caller who started it may leave.
        return await asyncio.shield(flight)

    def _land(self, key: Hashable, flight: asyncio.Task[bytes]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            # All who waited have it; where nobody does any more, nobody needs it.
            flight.exception()

    def _is_ended(self, bearer: bytes) -> bool:
        """Return whether the token itself is known to be revoked.

        Nobody waits for the store here: the caller was just authenticated by another credential.
        """
        denylist = self._issued.denylist
        if denylist.is_stale and (self._reading is None or self._reading.done()):
            self._reading = asyncio.ensure_future(self._read())
        return denylist.is_revoked(bearer.partition(b" ")[2].decode("ascii"))

    async def _read(self) -> None:
        with contextlib.suppress(BackendUnavailable):
            await self._issued.denylist.up_to_date()


async def _require_still_good(decider: Decider, request: GateRequest, granted: Granted) -> None:
    """Raise if a credential that can be revoked was revoked before its token was recorded.

    A revocation ends the recorded tokens. One that came between the check and the record found none.

    Raises:
        NotAuthenticated: It has been.
    """
    if not granted.identity.credential_id:
        return
    decision = await decider.decide(request.presented())
    if not isinstance(decision, Granted) or decision.identity.credential_id != granted.identity.credential_id:
        raise NotAuthenticated("the credential has ended")

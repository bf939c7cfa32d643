"""The gateway's grants, which a revocation ends early.

The memory itself is `compat_auth.authn.grant_cache`; this is the one of an event loop, which hears revocations from
other threads and processes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Generator
from math import inf
from time import monotonic

from compat_auth.authn.grant_cache import GrantCache
from compat_auth.authn.revocation_events import (
    Check,
    RevocationEvent,
    RevocationEvents,
    forget_revoked,
)
from compat_auth.gateway.decision import Granted
from compat_auth.identity import Identity


class RevocableGrants(GrantCache[Granted]):
    """Grants that a revocation ends; for the event loop's thread only, except for the revocations that it hears.

    Args:
        entries: See `GrantCache`.
        revocations: Where revocations are announced.
        forgotten: Called on the event loop for each revocation.
        now: Clock, in seconds.

    Attributes:
        under_way: Checks whose grants may be remembered soon.
    """

    def __init__(
        self,
        entries: int,
        revocations: RevocationEvents,
        forgotten: Callable[[], None],
        now: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(entries, now)
        self._revocations = revocations
        self._forgotten = forgotten
        self.under_way: set[Check] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        revocations.listen(self._hear)

    @contextlib.contextmanager
    def check(self) -> Generator[Check]:
        """Yield a check that hears of revocations during the block."""
        check = self.begin()
        try:
            yield check
        finally:
            self.under_way.discard(check)

    def begin(self) -> Check:
        """Return a check that hears of revocations until it is taken out of `under_way`."""
        self._loop = asyncio.get_running_loop()
        check = Check(self._now())
        self.under_way.add(check)
        return check

    def rememberable_s(self, identity: Identity, check: Check, for_s: float, *, at_most_s: float = inf) -> float:
        """Return for how many seconds the grant of a check may be remembered; 0 if a revocation concerns it.

        Args:
            identity: The identity that the check has accepted.
            check: As it ended.
            for_s: Seconds that its backend allows.
            at_most_s: Seconds from when the check began.
        """
        now = self._now()
        for_s = min(for_s, at_most_s - (now - check.began))
        return check.believable_s(identity, for_s, now=now, hears_all=self._revocations.hears_all)

    def _hear(self, revocation: RevocationEvent | None) -> None:
        """Forget the grants of a revocation on the event loop; called from any thread."""
        loop = self._loop
        # Before the first check there is nothing to forget, and after the loop has ended nobody to let in.
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self.end, revocation)

    def end(self, revocation: RevocationEvent | None) -> None:
        """Forget the grants of a revocation; on the event loop, which waits for it."""
        forget_revoked(self, revocation)
        self._forgotten()
        # The answer of a check is not remembered where the revocation concerns it.
        for check in self.under_way:
            check.heard.append(revocation)

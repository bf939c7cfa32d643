"""Which credentials no backend can claim: found out on the event loop, without the chain, a thread or Flask."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from time import monotonic

from compat_auth.backend import Backend, CredentialKind
from compat_auth.credentials import Bearer, Credential

# An answer of `may_claim` holds for as long as the process runs; its memory need not.
_FOR_S = 60.0
# To parse the claims of a longer token could hold up the event loop: it goes the long way.
_MAX_LENGTH = 8192


class Claimants:
    """Asks the backends whether a credential could be theirs, and remembers the ones that nobody can claim.

    For one thread, such as the event loop's.

    Args:
        backends: Those of the chain.
        entries: How many credentials to remember; the one that was used longest ago goes first.
        now: Clock, in seconds.
    """

    def __init__(self, backends: Sequence[Backend], entries: int, now: Callable[[], float] = monotonic) -> None:
        self._backends = tuple(backends)
        # What a class inherits speaks of another `authenticate`.
        self._always = tuple(backend for backend in backends if "may_claim" not in vars(type(backend)))
        self._entries = entries
        self._now = now
        self._unclaimed: OrderedDict[bytes, float] = OrderedDict()

    def could_be(self, credential: Credential) -> bool:
        """Return whether a backend that is asked about this kind of credential could answer differently from Skip."""
        kind: CredentialKind = type(credential)
        if any(kind in backend.kinds for backend in self._always):
            return True
        if isinstance(credential, Bearer) and len(credential.token) > _MAX_LENGTH:
            return True
        return any(_may_claim(backend, credential) for backend in self._backends if kind in backend.kinds)

    def remember(self, digest: bytes) -> None:
        """Remember a credential that could be no backend's, by its keyed digest."""
        while len(self._unclaimed) >= max(1, self._entries):
            self._unclaimed.popitem(last=False)
        self._unclaimed[digest] = self._now() + _FOR_S

    def knows_nobody(self, digest: bytes) -> bool:
        """Return whether a credential was found to be nobody's a moment ago."""
        ends_at = self._unclaimed.get(digest)
        if ends_at is None:
            return False
        if self._now() >= ends_at:
            del self._unclaimed[digest]
            return False
        self._unclaimed.move_to_end(digest)
        return True


def _may_claim(backend: Backend, credential: Credential) -> bool:
    try:
        return backend.may_claim(credential)
    except Exception:  # noqa: BLE001  # whatever it is, the chain will ask, and say it
        return True

"""The word that a user or a credential is no longer good, for whatever remembers what was checked a moment ago.

Who revokes writes that down first, where checks read it, and announces it then: a check that begins after the
announcement finds it written, and one that began before hears of it while under way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask

from compat_auth.identity import Identity

# How long what can be revoked is believed where a revocation elsewhere may not be heard.
UNHEARD_S = 1.0
_EXTENSION = "compat_auth_revocations"


@dataclass(frozen=True, slots=True)
class Revocation:
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


Heard = Callable[[Revocation | None], None]


class Revocations:
    """Tells all of a process what is revoked; any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[Heard, ...] = ()

    @property
    def hears_all(self) -> bool:
        """Whether what other processes announce is heard here; where not, believe for `UNHEARD_S` at most."""
        return False

    def announce(self, revocation: Revocation) -> None:
        """Let everybody who listens forget; to be called once the revocation is written down."""
        self._tell(revocation)

    def listen(self, callback: Heard) -> None:
        """Have a callback called for each revocation, from any thread, for as long as the process lives.

        Args:
            callback: Must be quick and raise nothing. None: something may have been missed, so forget everything.
        """
        with self._lock:
            self._listeners = (*self._listeners, callback)

    def _tell(self, revocation: Revocation | None) -> None:
        for callback in self._listeners:
            callback(revocation)


def revocations_of(app: Flask) -> Revocations:
    """Return the revocations of a Flask app, so that what one part of it revokes is known to all others at once."""
    found: Revocations = app.extensions.setdefault(_EXTENSION, Revocations())
    return found

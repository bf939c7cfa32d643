"""A backend that waits for `SLOW_MS` milliseconds and accepts: as if its directory were far away."""

import os
import time
from typing import ClassVar

from compat_auth.backend import Accept, Backend, Basic, Credential, CredentialKind, Identity, Outcome, Skip

WAIT_S = float(os.environ.get("SLOW_MS", "50")) / 1000


class Slow(Backend):
    """Takes everybody for the one user of the measurements, each time after a wait."""

    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Basic})
    # Each request waits: no answer may be used for another request.
    depends_on_credential_only: ClassVar[bool] = False

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept after the wait."""
        if not isinstance(credential, Basic):
            return Skip()
        time.sleep(WAIT_S)
        return Accept(Identity("user", self.name))

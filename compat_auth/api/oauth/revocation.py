"""Revokes a credential for its bearer, or for anyone who found it."""

from __future__ import annotations

import time
from collections.abc import Callable

from compat_auth.authn.chain import Chain
from compat_auth.authn.revocation_events import RevocationEvent, RevocationEvents
from compat_auth.credentials import Credential
from compat_auth.identity import Identity
from compat_auth.outcome import Accept

# Where the credential does not say when it ends.
UNTIL_FORGOTTEN_S = 30 * 86400


def refuse_credential(
    chain: Chain, revocations: RevocationEvents, credential: Credential, *, now: Callable[[], float] = time.time
) -> Identity | None:
    """Make each backend that accepts a credential refuse it from now on, and announce that.

    Call it inside a Flask request context, on a thread of the chain.

    Returns:
        The owner; None if the credential is invalid, or its backend cannot revoke it (a password).

    Raises:
        BackendUnavailable: A source could not be asked.
    """
    owner: Identity | None = None
    refusing: set[str] = set()
    # In the mode "airflow2" the chain continues behind a refusal, and another backend may accept it with wider limits.
    while True:
        answer = chain.ask(credential)
        if not isinstance(answer.outcome, Accept) or answer.backend in refusing:
            return owner
        identity = answer.outcome.identity
        until = identity.expires_at if identity.expires_at is not None else now() + UNTIL_FORGOTTEN_S
        backend = next(backend for backend in chain.backends if backend.name == answer.backend)
        if not backend.refuse(credential, until):
            return owner
        refusing.add(answer.backend)
        revocations.announce(RevocationEvent(credential_id=identity.credential_id))
        owner = owner or identity

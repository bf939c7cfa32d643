"""The four answers of a backend. No I/O, no Flask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from compat_auth.identity import Identity, Token

__all__ = ["MODULE_ENVIRON", "MODULE_PEER", "ONLY_ASKED_ABOUT", "Accept", "Challenge", "Outcome", "Reject", "Skip"]

ONLY_ASKED_ABOUT = "compat_auth.only_asked_about"
"""Set in the WSGI environment if a credential is only introspected or revoked, which is no use of it."""

MODULE_ENVIRON = "compat_auth.module_environ"
"""Key in the WSGI environment of what makes the environment that an Airflow 2 module sees, with the request's body."""

MODULE_PEER = "compat_auth.module_peer"
"""The address that the connection comes from, as a key in the environment of an Airflow 2 module."""


@dataclass(frozen=True, slots=True)
class Accept:
    """The credential is right: stop.

    Attributes:
        identity: Who the caller is.
        headers: Response headers that belong to the success, such as the mutual authentication of RFC 4559.
        reusable_s: Seconds for which the same credential need not be checked again; 0 means never reuse.
        token: A token for the upstream that the check itself has yielded, or None.
        used: Called for each request that gets in by this answer, also where it is reused; must be quick. Or None.
        reason: For the audit log: what the identity does not say, such as the rule that matched; never a secret.
    """

    identity: Identity
    headers: tuple[tuple[str, str], ...] = ()
    reusable_s: float = 0
    token: Token | None = None
    used: Callable[[], None] | None = field(default=None, repr=False, compare=False)
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Reject:
    """A credential of this backend's kind was presented and is bad: stop.

    Attributes:
        reason: For the audit log only; the caller never sees it.
        status: 401, or 403 where the caller is known but not permitted.
        challenges: `WWW-Authenticate` values learnt while asking, for the final 401.
        vouched: The credential itself is right; only no active user belongs to it. In mode "airflow2" such a 403 stays
            one, as Airflow 2 had it for tickets; any other refusal is its chain's 401.
        names_nobody: No source knows the user that the credential names: the audit log masks the name, which may be a
            password in the wrong field.
    """

    reason: str
    status: int = 401
    challenges: tuple[str, ...] = ()
    vouched: bool = False
    names_nobody: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A further leg is needed: stop, 401 with this `WWW-Authenticate` value."""

    header: str


@dataclass(frozen=True, slots=True)
class Skip:
    """Not this backend's kind: ask the next.

    Attributes:
        challenges: `WWW-Authenticate` values learnt while asking, for the final 401.
    """

    challenges: tuple[str, ...] = ()


Outcome = Accept | Reject | Challenge | Skip
"""The answer of a backend."""

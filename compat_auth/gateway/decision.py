"""The decisions that the gate can make about a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from compat_auth.credentials import Credential
from compat_auth.identity import Identity


@dataclass(frozen=True, slots=True)
class Staged:
    """An addition to a decision that the stage of the login allows.

    Attributes:
        notices: Response headers that announce its end, names in lower case.
        require: Raises StageRefusal unless the same caller may also send this to the upstream: a method and a path.
    """

    notices: tuple[tuple[bytes, bytes], ...]
    require: Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True)
class Granted:
    """The caller is known, and the request is forwarded with this token.

    Attributes:
        identity: The caller.
        bearer: The Authorization value for the upstream; b"" if the caller asked for none.
        headers: Response headers for the success.
        digest: Key of the remembered grant; b"" if it is not remembered.
        used: Called for each request that is forwarded by this grant, or None.
        staged: What the stage of the login adds; None: nothing.
    """

    identity: Identity
    bearer: bytes = field(repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    digest: bytes = b""
    used: Callable[[], None] | None = field(default=None, repr=False, compare=False)
    staged: Staged | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """No backend takes this kind of credential.

    Attributes:
        credential: The request's credential; the upstream checks a Bearer.
        challenges: For a 401.
        staged: See `Granted`.
    """

    credential: Credential
    challenges: tuple[str, ...]
    staged: Staged | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """A backend refuses the credential.

    Attributes:
        status: 401 or 403.
        challenges: For a 401.
    """

    status: int
    challenges: tuple[str, ...]


Decision = Granted | Unclaimed | Refused


def notices_of(decision: Decision) -> tuple[tuple[bytes, bytes], ...]:
    """Return the response headers that announce the end of a login."""
    staged = None if isinstance(decision, Refused) else decision.staged
    return () if staged is None else staged.notices

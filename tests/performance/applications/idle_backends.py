"""As many backends as one likes that take Basic credentials and know none of them: `idle_backends.Idle1`, `Idle2`, …"""

from typing import Any, ClassVar

from compat_auth.backend import Backend, CredentialKind
from compat_auth.credentials import Basic, Credential
from compat_auth.outcome import Outcome, Skip


class Idle(Backend):
    """Is asked, and has nothing to say."""

    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Basic})

    def authenticate(self, credential: Credential) -> Outcome:
        """Leave it to the next."""
        del credential
        return Skip()


def __getattr__(name: str) -> Any:
    if name.startswith("Idle") and name[4:].isdigit():
        return type(name, (Idle,), {})
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""A backend for keys that teams give to their scripts: `Authorization: Bearer team-...`."""

import hashlib
from collections.abc import Mapping
from typing import ClassVar

from compat_auth.backend import (
    Accept,
    Backend,
    Bearer,
    ConfigError,
    Credential,
    CredentialKind,
    Identity,
    Outcome,
    Reject,
    Settings,
    Skip,
)


class TeamKeyBackend(Backend):
    """Accepts a team's key, of which the configuration holds only the SHA-256 digest."""

    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Bearer})
    needs: ClassVar[tuple[str, ...]] = ("[backends.team_key] users",)

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users

    @classmethod
    def from_settings(cls, settings: Settings) -> "TeamKeyBackend":
        users = settings.backends.get("team_key", {}).get("users")
        if not users:
            raise ConfigError("backends.team_key.users: missing; add lines of the form DIGEST = 'USER NAME'")
        return cls(users)

    def authenticate(self, credential: Credential) -> Outcome:
        # Every other Bearer belongs to a later backend, or is the upstream's own JWT.
        if not isinstance(credential, Bearer) or not credential.token.startswith("team-"):
            return Skip()
        # A look-up by digest tells nothing about the key by the time it takes.
        username = self._users.get(hashlib.sha256(credential.token.encode("ascii")).hexdigest())
        if username is None:
            return Reject("team_key: unknown key")
        return Accept(Identity(username, self.name), reusable_s=60)

    def challenges(self) -> tuple[str, ...]:
        return ('Bearer realm="Airflow"',)

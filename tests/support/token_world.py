"""Personal tokens over a store, a directory and a clock that a test changes under their feet."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from compat_auth.authn.revocation_events import RevocationEvent, RevocationEvents
from compat_auth.authn.users.lookup import UserLookup
from compat_auth.config import PersonalTokenSettings
from compat_auth.directory import DirectoryUser
from compat_auth.errors import (
    NotAuthenticated,
)
from compat_auth.personal_tokens.owners import TokenOwners
from compat_auth.personal_tokens.peppers import Peppers
from compat_auth.personal_tokens.service import PersonalTokens
from compat_auth.store.migration import open_store
from compat_auth.store.tables.personal_tokens import PersonalTokenRows

NOON = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp())
DAY = 86400
PEPPER = b"a-pepper-of-more-than-32-bytes-0123456789"
OLDER = b"an-older-pepper-of-more-than-32-bytes-0123"


@dataclass
class Users:
    """A directory whose users come and go."""

    name: str = "users"
    users: dict[str, DirectoryUser] = field(
        default_factory=lambda: {"alice": DirectoryUser("alice", upstream_id="1"), "zoë": DirectoryUser("zoë")}
    )

    def find(self, username: str) -> DirectoryUser | None:
        return self.users.get(username)


@dataclass
class Clock:
    now: float = NOON

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """All that a service needs, to be changed under its feet."""

    folder: Path
    users: Users = field(default_factory=Users)
    clock: Clock = field(default_factory=Clock)
    heard: list[RevocationEvent | None] = field(default_factory=list["RevocationEvent | None"])
    revocations: RevocationEvents = field(default_factory=RevocationEvents)
    revoked_upstream: list[str] = field(default_factory=list[str])

    def service(self, *, peppers: tuple[bytes, ...] = (PEPPER,), **rules: object) -> PersonalTokens:
        return PersonalTokens(
            PersonalTokenRows(open_store(f"sqlite:///{self.folder / 'store.db'}")),
            Peppers(peppers),
            TokenOwners(UserLookup((self.users,))),
            revocations=self.revocations,
            revoke_upstream=self.revoked_upstream.append,
            rules=PersonalTokenSettings.model_validate(rules),
            now=self.clock,
        )


def works(service: PersonalTokens, text: str) -> bool:
    try:
        service.verification.verify(text)
    except NotAuthenticated:
        return False
    return True

"""A file that maps authenticated names to users of the upstream.

For example::

    [[user]]
    names = ["alice@EXAMPLE.ORG", "alice@example.org", "110169484474386276334"]
    username = "alice"
    id = 3
    roles = ["Admin"]
    email = "alice@example.org"

The format is TOML, like the configuration: it allows lists and comments, and a repeated key is an error. Only
`username` is required; it is itself one of the names.
Names compare with case. A user with `active = false` is refused, and so is an unknown name.

A file with a mistake is not used at all: an edit that disables a user must not leave the old file in force.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compat_auth.config import Settings
from compat_auth.directory import DirectoryUser
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.files import refuse_writable_at
from compat_auth_backends.directories.watched_file import WatchedFile


class _User(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    username: str = Field(min_length=1)
    names: list[str] = []
    id: int | str = ""
    roles: list[str] = []
    email: str = ""
    active: bool = True


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    user: list[_User] = []


@dataclass(frozen=True, slots=True)
class MappingDirectory:
    """The names in a file, and their users of the upstream; for look-ups."""

    path: Path
    file: WatchedFile[dict[str, DirectoryUser]]

    name = "mapping"
    needs = ("[mapping] file",)
    answers_without_flask = True

    @classmethod
    def from_settings(cls, settings: Settings) -> MappingDirectory:
        """Return the directory of `[mapping] file`.

        Raises:
            ConfigError: No file is named, or others may write to it.
        """
        if not settings.mapping.file:
            raise ConfigError("mapping.file: empty; name a TOML file with one [[user]] for each user")
        refuse_writable_at(Path(settings.mapping.file))
        return cls.from_path(Path(settings.mapping.file))

    @classmethod
    def from_path(cls, path: Path) -> MappingDirectory:
        """Return the directory of a file, which is read at first use."""
        return cls(path, WatchedFile(path, parse_mapping, label="mapping"))

    def find(self, username: str) -> DirectoryUser | None:
        """Return the user with exactly that name, active or not; None if there is none.

        Raises:
            BackendUnavailable: The file cannot be read or has a mistake.
        """
        return self.file.current().get(username)

    def anybody(self) -> DirectoryUser | None:
        """Return an active user whose number in the upstream's database is in the file, or None.

        Raises:
            BackendUnavailable: The file cannot be read or has a mistake.
        """
        users = self.file.current().values()
        return next((user for user in users if user.active and user.upstream_id), None)

    def problems(self) -> list[str]:
        """Return the problems of the file: where, why, and the remedy."""
        try:
            self.path.stat()
            users = self.file.current()
        except OSError as exc:
            return [f"{self.path}: cannot be read ({exc.strerror}); create it"]
        except BackendUnavailable as exc:
            return [f"{exc}; nobody is found until it is mended"]
        return [] if users else [f"{self.path}: names nobody; add a [[user]]"]


def parse_mapping(text: str) -> dict[str, DirectoryUser]:
    """Return the user of each name.

    Raises:
        ValueError: Not TOML, an unknown key, a wrong type, or a name that belongs to two users; says where.
    """
    try:
        content = _Content.model_validate(tomllib.loads(text))
    except ValidationError as exc:
        raise ValueError("; ".join(_explain(error) for error in exc.errors())) from exc
    found: dict[str, DirectoryUser] = {}
    for number, user in enumerate(content.user):
        entry = DirectoryUser(
            user.username,
            active=user.active,
            email=user.email,
            roles=tuple(sorted(set(user.roles))),
            upstream_id=str(user.id),
        )
        for name in dict.fromkeys((user.username, *user.names)):
            if not name or not name.isprintable():
                raise ValueError(f"user[{number}]: {name!r} cannot be a name")
            if name in found:
                raise ValueError(f"user[{number}]: {name!r} belongs to {found[name].username!r} already; delete one")
            found[name] = entry
    return found


def _explain(error: Any) -> str:
    path = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"] if part not in ("int", "str")
    )
    return f"{path.removeprefix('.')}: {error['msg']}"

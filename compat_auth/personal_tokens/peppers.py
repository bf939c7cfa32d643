"""Peppers: the keys of the HMACs under which personal tokens are stored; the database alone verifies no token.

`[personal_tokens] pepper` sets it. Without it, and with an SQLite store, one is generated at first use in its own file
beside the database. Machines that share a PostgreSQL database must set it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from compat_auth.config import Settings
from compat_auth.crypto.private_file import refuse_exposed, written_aside
from compat_auth.errors import ConfigError, KeyFileError

MIN_BYTES = 32
_MAX_FILE_BYTES = 4096
_MADE_BY = "the first `compat-auth tokens create`"


class Peppers:
    """The peppers, newest first. Stateless: any thread may use it.

    Args:
        values: At least one, each at least 32 bytes.

    Attributes:
        newest: Id of the pepper for new digests.
    """

    def __init__(self, values: tuple[bytes, ...]) -> None:
        self._keys = {_id_of(value): value for value in values}
        self.newest = next(iter(self._keys))

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all peppers."""
        return frozenset(self._keys)

    def digest(self, pepper_id: str, text: str) -> bytes:
        """Return the digest of a token; for an unknown pepper, a digest of no token at the same cost."""
        key = self._keys.get(pepper_id)
        return hmac.digest(key or secrets.token_bytes(MIN_BYTES), text.encode("ascii"), hashlib.sha256)


def load_peppers(settings: Settings) -> Peppers:
    """Return the peppers of `[personal_tokens]`, or of the file beside the SQLite database, which it creates.

    Raises:
        ConfigError: A pepper is too short, or there is none and nowhere to create one.
        KeyFileError: The file is readable by others, owned by another user, or cannot be written.
    """
    section = settings.personal_tokens
    given = tuple(filter(None, (value.get_secret_value().encode() for value in (section.pepper, *section.peppers))))
    for value in given:
        if len(value) < MIN_BYTES:
            raise ConfigError(
                f"personal_tokens.pepper: {len(value)} bytes; needs at least {MIN_BYTES}: "
                "make one with: openssl rand -base64 48"
            )
    return Peppers(given or (_from_file(pepper_file(settings)),))


def pepper_file(settings: Settings) -> Path:
    """Return the file of the generated pepper.

    Raises:
        ConfigError: The store is not an SQLite file.
    """
    try:
        url = make_url(settings.database_url.get_secret_value())
    except (ArgumentError, ValueError):
        # No `from`: the message may repeat the URL, and so a password.
        raise ConfigError("database_url: not a database URL; write sqlite:///FILE or postgresql+psycopg://…") from None
    if url.get_backend_name() != "sqlite" or not url.database:
        raise ConfigError(
            "personal_tokens.pepper: not set, and every machine that shares this database needs the same; "
            "make one with: openssl rand -base64 48"
        )
    return Path(f"{url.database}.pepper")


def _from_file(path: Path) -> bytes:
    if not path.exists():
        with (
            written_aside(path, secrets.token_urlsafe(48).encode() + b"\n") as temporary,
            contextlib.suppress(FileExistsError),
        ):
            # The first process creates it; link() never overwrites one that is in use.
            os.link(temporary, path)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        refuse_exposed(path, os.fstat(descriptor), holds="the pepper of personal tokens", made_by=_MADE_BY)
        value = file.read(_MAX_FILE_BYTES).strip()
    if len(value) < MIN_BYTES:
        raise KeyFileError(f"{path}: no pepper in it; put the one from a backup there")
    return value


def _id_of(value: bytes) -> str:
    return hmac.digest(value, b"compat_auth personal tokens: pepper id", hashlib.sha256).hex()[:16]

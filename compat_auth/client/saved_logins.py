"""Saved logins of the current user: which servers, and where the secret of each is kept.

They are in one file, `logins.json`, readable only for its owner. It holds a secret only if the user chose that.
"""

from __future__ import annotations

import importlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol, cast

from compat_auth.client.errors import NotLoggedIn
from compat_auth.crypto.private_file import refuse_exposed, written_aside
from compat_auth.crypto.strict_json import is_list, is_object
from compat_auth.errors import KeyFileError

KEYRING = "keyring"
FILE = "file"
PASSWORD = "password"  # noqa: S105  # a kind of login
TOKEN = "token"  # noqa: S105  # the same
KERBEROS = "kerberos"
_MADE_BY = "compat-auth login"


@dataclass(frozen=True, slots=True)
class SavedLogin:
    """A saved login.

    Attributes:
        server: URL without a final slash.
        kind: `password`, `token` or `kerberos`.
        username: The user name, for a password.
        kept_in: `keyring` or `file`.
        allow_http: The user has allowed plain http.
        secret: The secret as JSON, where it is kept in the file.
    """

    server: str
    kind: str
    username: str = ""
    kept_in: str = KEYRING
    allow_http: bool = False
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Secret:
    """The secret of a login.

    Attributes:
        credential: Password or token; "" for Kerberos.
        token: The last JWT, or the personal token.
        renew_at: When to get the next token, in seconds since the epoch.
    """

    credential: str = field(repr=False)
    token: str = field(default="", repr=False)
    renew_at: float = 0.0


class SecretStore(Protocol):
    """The system's keyring."""

    def write(self, server: str, secret: str) -> None:
        """Store a secret."""
        ...

    def read(self, server: str) -> str | None:
        """Return the secret, or None."""
        ...

    def delete(self, server: str) -> None:
        """Delete the secret, if there is one."""
        ...


class SavedLogins:
    """The logins in one folder.

    Args:
        folder: The folder; created if it is missing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or _default_folder()
        self._path = self._folder / "logins.json"

    def all(self) -> tuple[SavedLogin, ...]:
        """Return every login.

        Raises:
            KeyFileError: The file is readable by others, or owned by another user.
        """
        try:
            # O_NOFOLLOW, O_NONBLOCK: accept neither a link nor a pipe in its place.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        except FileNotFoundError:
            return ()
        except OSError as exc:
            raise KeyFileError(f"{self._path}: cannot be read ({exc.strerror})") from exc
        with os.fdopen(descriptor, "rb") as file:
            refuse_exposed(self._path, os.fstat(descriptor), holds="your logins", made_by=_MADE_BY)
            text = file.read()
        try:
            return _logins_of(json.loads(text))
        except (ValueError, TypeError):
            raise KeyFileError(f"{self._path}: not valid; remove it and log in again") from None

    def find(self, server: str = "") -> SavedLogin:
        """Return the login at a server, or the only one.

        Raises:
            NotLoggedIn: There is none, or more than one to choose from.
        """
        logins = self.all()
        found = [login for login in logins if login.server == server] if server else logins
        if len(found) == 1:
            return found[0]
        if not found:
            raise NotLoggedIn(
                f"not logged in{f' at {server}' if server else ''}; run: compat-auth login {server or 'URL'}"
            )
        raise NotLoggedIn(
            "logged in at " + ", ".join(login.server for login in found) + "; name one of them in the URL"
        )

    def save(self, login: SavedLogin, secret: Secret) -> None:
        """Save a login and its secret, replacing an older one at the same server.

        Raises:
            NoKeyring: The system's keyring cannot store it.
            KeyFileError: The file cannot be written.
        """
        text = json.dumps(asdict(secret))
        if login.kept_in == KEYRING:
            _keyring().write(login.server, text)
            text = ""
        others = tuple(other for other in self.all() if other.server != login.server)
        self._write((*others, replace(login, secret=text)))

    def secret_of(self, login: SavedLogin) -> Secret:
        """Return the secret of a login.

        Raises:
            NotLoggedIn: It no longer exists.
            NoKeyring: The system's keyring cannot be asked.
        """
        text = _keyring().read(login.server) if login.kept_in == KEYRING else login.secret
        try:
            return Secret(**json.loads(text or ""))
        except (ValueError, TypeError):
            raise NotLoggedIn(f"no secret for {login.server}; run: compat-auth login {login.server}") from None

    def forget(self, login: SavedLogin) -> None:
        """Delete a login and its secret."""
        if login.kept_in == KEYRING:
            _keyring().delete(login.server)
        self._write(tuple(other for other in self.all() if other.server != login.server))

    def _write(self, logins: tuple[SavedLogin, ...]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = json.dumps([asdict(login) for login in logins], indent=1).encode()
        with written_aside(self._path, content) as temporary:
            temporary.replace(self._path)


def _logins_of(entries: object) -> tuple[SavedLogin, ...]:
    if not is_list(entries) or not all(is_object(entry) for entry in entries):
        raise TypeError("not a list of logins")
    return tuple(SavedLogin(**entry) for entry in entries)


def _keyring() -> SecretStore:
    # Imported only where it is used, because the library is an extra.
    return cast("SecretStore", importlib.import_module("compat_auth.client.system_keyring"))


def _default_folder() -> Path:
    chosen = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(chosen) if chosen.startswith("/") else Path.home() / ".config") / "compat_auth"

"""The value of a session cookie: an encrypted session that its bearer can neither read nor change. No Flask.

A value is `1.KEY.BOX`: the version, the key's id, and base64url of what `crypto.aead` encrypts. Name, version and key
id are authenticated too, so that a value encrypted for one cookie never opens as another's. The format is the same in
every release: a user stays logged in across an update, and across replicas of two releases.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from compat_auth.crypto.aead import MIN_SECRET_BYTES, SealingKey, SealingKeys
from compat_auth.errors import ConfigError, InvalidSession

VERSION = "1"
_PURPOSE = "session cookie"


@dataclass(frozen=True, slots=True)
class Session:
    """The content of a session cookie.

    Attributes:
        id: Names the session in the store; never shown.
        username: The name the upstream knows the user by.
        directory: Where the user was found at login, or "".
        backend: Who vouched at login.
        created: When the user logged in, in seconds since the epoch.
        last_seen: When the cookie was last renewed, in seconds since the epoch.
        csrf_token: The token that an unsafe request must have if it does not say where it comes from.
        subject: The source's own id of the user.
        email: E-mail address, or "".
        mfa: The login had a second factor.
        data: The application's own; JSON.
        expires_at: End of the credential that began the session, and so of the session; None if the credential had
            none.
    """

    id: str = field(repr=False)
    username: str
    directory: str
    backend: str
    created: int
    last_seen: int
    csrf_token: str = field(repr=False)
    subject: str = ""
    email: str = ""
    mfa: bool = False
    data: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    expires_at: int | None = None


class SessionSealing:
    """Encrypts and decrypts sessions. Keeps no state: any thread and any process may use it.

    Args:
        secrets: Newest first; the first encrypts, all decrypt. Each at least 32 bytes.

    Raises:
        ConfigError: A secret is empty or too short.
    """

    def __init__(self, secrets: tuple[str, ...]) -> None:
        if not secrets:
            raise ConfigError("session.secret: empty; make one with: openssl rand -base64 48")
        for secret in secrets:
            _require_long(secret)
        self._keys = SealingKeys(secrets, _PURPOSE)

    def seal(self, session: Session, *, name: str) -> str:
        """Return the value of the cookie of that name."""
        content = {short: getattr(session, attribute) for short, attribute in _NAMES.items()}
        text = json.dumps(
            {short: value for short, value in content.items() if value}, ensure_ascii=False, allow_nan=False
        )
        key = self._keys.newest
        box = key.seal(text.encode("utf-8", "surrogatepass"), _context(name, key))
        return f"{VERSION}.{key.id.hex()}.{_encode(box)}"

    def open(self, value: str, *, name: str) -> Session:
        """Return the session that was encrypted for the cookie of that name, whenever it ends.

        Raises:
            InvalidSession: It is not ours, changed, or encrypted with a secret that is no longer known.
        """
        version, _, rest = value.partition(".")
        key_id, _, text = rest.partition(".")
        if version != VERSION:
            raise InvalidSession("session: not our cookie")
        key = self._keys.find(_key_id(key_id))
        if key is None:
            raise InvalidSession("session: encrypted with a secret that is not known here")
        content = key.open(_decode(text), _context(name, key))
        if content is None:
            raise InvalidSession("session: forged or damaged")
        return _read(content)


def _context(name: str, key: SealingKey) -> bytes:
    return f"{name}\0{VERSION}\0{key.id.hex()}".encode("ascii")


def _key_id(text: str) -> bytes:
    """Return the key's id, or b"" for a spelling that we never write: a cookie has one spelling."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return b""
    return found if found.hex() == text else b""


def _require_long(secret: str) -> None:
    size = len(secret.encode("utf-8", "surrogatepass"))
    if size < MIN_SECRET_BYTES:
        raise ConfigError(
            f"session.secret: {size} bytes; needs at least {MIN_SECRET_BYTES}: make one with: openssl rand -base64 48"
        )


# Short, for they are in every request.
_NAMES = {
    "i": "id",
    "u": "username",
    "d": "directory",
    "b": "backend",
    "c": "created",
    "l": "last_seen",
    "t": "csrf_token",
    "s": "subject",
    "e": "email",
    "m": "mfa",
    "x": "data",
    "n": "expires_at",
}


def _read(content: bytes) -> Session:
    # Sealed by us; still, a version of ours with other ideas must not become a session by accident.
    found = cast("dict[str, Any]", json.loads(content))
    texts = [found.get(name, "") for name in "iudbtse"]
    times = [found.get(name) for name in "cl"]
    data, mfa, expires_at = found.get("x", {}), found.get("m", False), found.get("n")
    known = [*times, *(() if expires_at is None else (expires_at,))]
    fits = all(isinstance(text, str) for text in texts) and all(type(moment) is int for moment in known)
    if not fits or not all((found.get("i"), found.get("u"), found.get("t"))) or not isinstance(data, dict):
        raise InvalidSession("session: of another shape")
    identifier, username, directory, backend, token, subject, email = cast("list[str]", texts)
    created, last_seen = cast("list[int]", times)
    return Session(
        identifier,
        username,
        directory,
        backend,
        created,
        last_seen,
        token,
        subject,
        email,
        mfa is True,
        cast("dict[str, Any]", data),
        expires_at,
    )


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidSession("session: not base64") from None
    if _encode(raw) != text:
        raise InvalidSession("session: base64 of another spelling")
    return raw

"""Our session cookie: sealed, so that its bearer can neither read nor change it. No Flask, no store.

A cookie is `1.KEY.BOX`: the version, the key's id, and base64url of a nonce and AES-256-GCM's output. Name, version and
key id are authenticated too, so that a cookie sealed as one thing never opens as another.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets as random_secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from compat_auth.concurrency.clock import unix_now
from compat_auth.config import Settings
from compat_auth.errors import ConfigError, InvalidSession, SessionTooLarge

VERSION = "1"
MIN_SECRET_BYTES = 32
# RFC 6265 6.1: what a browser must keep at least, and what most keep at most.
MAX_COOKIE_BYTES = 4096
CLOCK_SKEW_S = 30  # between our own replicas; they run NTP
# The part of the idle time after which a session in use is renewed: no write on every request.
RENEWAL_PART = 0.1
_NONCE_BYTES = 12  # NIST SP 800-38D 8.2


@dataclass(frozen=True, slots=True)
class Session:
    """What a session cookie says.

    Attributes:
        id: Names the session in the store; never shown.
        username: The name the upstream knows the user by.
        directory: Where the user was found at login, or "".
        backend: Who vouched at login.
        created: When the user logged in, in seconds since the epoch.
        last_seen: When the cookie was last renewed, in seconds since the epoch.
        csrf_token: What an unsafe request must bring that does not tell where it comes from.
        subject: What the source itself calls the user.
        email: E-mail address, or "".
        mfa: The login had a second factor.
        data: The application's own; JSON.
        expires_at: End of the credential that began it, which it does not outlive; None where that had none.
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


@dataclass(frozen=True, slots=True)
class _Key:
    id: str
    cipher: AESGCM = field(repr=False)


def new_secret() -> str:
    """Return 256 random bits, URL-safe."""
    return random_secrets.token_urlsafe(32)


class SessionCookie:
    """Seals and opens sessions. Keeps no state: any thread and any process may use it.

    Args:
        secrets: Newest first; the first seals, all open. Each at least 32 bytes.
        name: Name on plain HTTP; on HTTPS `__Host-` stands before it.
        idle_s: Seconds without a request after which a session ends.
        max_age_s: Seconds after login at which it ends however busy it is.
        now: Clock, in seconds since the epoch.

    Attributes:
        names: Every name that the cookie can have.
        idle_s: As given.
        max_age_s: As given.

    Raises:
        ConfigError: A secret is empty or too short.
    """

    def __init__(
        self,
        secrets: tuple[str, ...],
        *,
        name: str = "compat_auth_session",
        idle_s: int = 604800,
        max_age_s: int = 2592000,
        now: Callable[[], int] = unix_now,
    ) -> None:
        if not secrets:
            raise ConfigError("session.secret: empty; make one with: openssl rand -base64 48")
        self._keys = {key.id: key for key in reversed([_derive(secret) for secret in secrets])}
        self._newest = _derive(secrets[0])
        self._name = name
        self.names = (name, f"__Host-{name}")
        self.idle_s = idle_s
        self.max_age_s = max_age_s
        self.now = now

    @classmethod
    def from_settings(cls, settings: Settings, *, now: Callable[[], int] = unix_now) -> SessionCookie | None:
        """Return the cookie of `[session]`, or None where no secret is set.

        Raises:
            ConfigError: A secret is too short, or both `secret` and `secrets` are set.
        """
        section = settings.session
        single, several = section.secret.get_secret_value(), [item.get_secret_value() for item in section.secrets]
        if single and several:
            raise ConfigError(
                "session.secret, session.secrets: both are set; list every secret in secrets, newest first"
            )
        if section.cookie_name in settings.upstream.identity_cookies:
            raise ConfigError(
                f"session.cookie_name: {section.cookie_name!r} is the upstream's own; choose another name"
            )
        if not single and not several:
            return None
        return cls(
            tuple(several) or (single,),
            name=section.cookie_name,
            idle_s=section.idle_s,
            max_age_s=section.max_age_s,
            now=now,
        )

    def name(self, *, secure: bool) -> str:
        """Return the cookie's name; a `__Host-` cookie cannot be set by another host of the domain."""
        return f"__Host-{self._name}" if secure else self._name

    def header(self, session: Session, *, secure: bool) -> str:
        """Return the Set-Cookie value that gives the session to the browser.

        Raises:
            SessionTooLarge: It would not fit into a cookie.
        """
        left_s = min(self.idle_s - (self.now() - session.last_seen), self.ends(session) - self.now())
        value = _attributes(f"{self.name(secure=secure)}={self._seal(session, secure=secure)}", max(0, left_s), secure)
        if len(value) >= MAX_COOKIE_BYTES:
            raise SessionTooLarge(
                f"session of {session.username!r}: its cookie would have {len(value)} bytes, and browsers drop those of "
                f"{MAX_COOKIE_BYTES}; store less in it, and the rest under a key in your own database"
            )
        return value

    def clearing(self, *, secure: bool) -> str:
        """Return the Set-Cookie value that takes the session from the browser."""
        return _attributes(f"{self.name(secure=secure)}=", 0, secure)

    def open(self, value: str, *, secure: bool) -> Session:
        """Return what a cookie says that we have sealed and that has not expired.

        Raises:
            InvalidSession: It is not ours, changed, sealed with a secret that is no longer known, expired, or from the
                future.
        """
        session = self._unseal(value, secure=secure)
        now = self.now()
        if session.created > session.last_seen or session.last_seen > now + CLOCK_SKEW_S:
            raise InvalidSession("session: dated in the future")
        if now - session.last_seen >= self.idle_s:
            raise InvalidSession(f"session: idle for {now - session.last_seen} s")
        if now >= self.ends(session):
            raise InvalidSession(f"session: {now - session.created} s old")
        return session

    def ends(self, session: Session) -> int:
        """Return when the session ends however busy it is, in seconds since the epoch."""
        ends = session.created + self.max_age_s
        return ends if session.expires_at is None else min(ends, session.expires_at)

    def renewed(self, session: Session, *, idle_s: float | None = None) -> Session | None:
        """Return the session as seen now, or None while that is not yet worth a new cookie.

        Args:
            session: As it was opened.
            idle_s: A shorter idle time that somebody holds it to, in seconds; None: the cookie's own.
        """
        now = self.now()
        limit_s = self.idle_s if idle_s is None else min(idle_s, self.idle_s)
        return replace(session, last_seen=now) if now - session.last_seen > limit_s * RENEWAL_PART else None

    def _seal(self, session: Session, *, secure: bool) -> str:
        content = {name: getattr(session, attribute) for name, attribute in _NAMES.items()}
        text = json.dumps(
            {name: value for name, value in content.items() if value}, ensure_ascii=False, allow_nan=False
        )
        nonce = os.urandom(_NONCE_BYTES)
        key = self._newest
        box = key.cipher.encrypt(nonce, text.encode("utf-8", "surrogatepass"), self._context(key, secure=secure))
        return f"{VERSION}.{key.id}.{_encode(nonce + box)}"

    def _unseal(self, value: str, *, secure: bool) -> Session:
        if len(value) > MAX_COOKIE_BYTES:
            raise InvalidSession("session: too long")
        version, _, rest = value.partition(".")
        key_id, _, text = rest.partition(".")
        if version != VERSION:
            raise InvalidSession("session: not a cookie of ours")
        key = self._keys.get(key_id)
        if key is None:
            raise InvalidSession("session: sealed with a secret that is not known here")
        box = _decode(text)
        try:
            content = key.cipher.decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], self._context(key, secure=secure))
        except (InvalidTag, ValueError):
            raise InvalidSession("session: forged or damaged") from None
        return _read(content)

    def _context(self, key: _Key, *, secure: bool) -> bytes:
        return f"{self.name(secure=secure)}\0{VERSION}\0{key.id}".encode("ascii")


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


def _derive(secret: str) -> _Key:
    raw = secret.encode("utf-8", "surrogatepass")
    if len(raw) < MIN_SECRET_BYTES:
        raise ConfigError(
            f"session.secret: {len(raw)} bytes; needs at least {MIN_SECRET_BYTES}: make one with: openssl rand -base64 48"
        )

    def derive(purpose: bytes, length: int) -> bytes:
        return HKDF(SHA256(), length, None, b"compat_auth session cookie " + purpose).derive(raw)

    return _Key(derive(b"key id", 4).hex(), AESGCM(derive(b"AES-256-GCM", 32)))


def _attributes(pair: str, max_age_s: int, secure: bool) -> str:
    return f"{pair}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")


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

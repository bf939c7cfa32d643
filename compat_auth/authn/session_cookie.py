"""Our session cookie: its name, its attributes, and how long its session lasts. No Flask, no store."""

from __future__ import annotations

import secrets as random_secrets
from collections.abc import Callable
from dataclasses import replace

from compat_auth.authn.session_sealing import Session, SessionSealing
from compat_auth.concurrency.clock import unix_now
from compat_auth.config import Settings
from compat_auth.errors import ConfigError, InvalidSession, SessionTooLarge

# RFC 6265 6.1: what a browser must keep at least, and what most keep at most.
MAX_COOKIE_BYTES = 4096
CLOCK_SKEW_S = 30  # between our own replicas; they run NTP
# The part of the idle time after which a session in use is renewed: no write on every request.
RENEWAL_PART = 0.1


def new_secret() -> str:
    """Return 256 random bits, URL-safe."""
    return random_secrets.token_urlsafe(32)


class SessionCookie:
    """Encrypts and decrypts sessions. Keeps no state: any thread and any process may use it.

    Args:
        secrets: Newest first; the first encrypts, all decrypt. Each at least 32 bytes.
        name: Name on plain HTTP; on HTTPS it has the prefix `__Host-`.
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
        self._sealing = SessionSealing(secrets)
        self._name = name
        self.names = (name, f"__Host-{name}")
        self.idle_s = idle_s
        self.max_age_s = max_age_s
        self.now = now

    @classmethod
    def from_settings(cls, settings: Settings, *, now: Callable[[], int] = unix_now) -> SessionCookie | None:
        """Return the cookie of `[session]`, or None if no secret is set.

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
        name = self.name(secure=secure)
        value = _attributes(f"{name}={self._sealing.seal(session, name=name)}", max(0, left_s), secure)
        if len(value) >= MAX_COOKIE_BYTES:
            raise SessionTooLarge(
                f"session of {session.username!r}: its cookie would have {len(value)} bytes, and browsers drop those of "
                f"{MAX_COOKIE_BYTES}; store less in it, and the rest under a key in your own database"
            )
        return value

    def clearing(self, *, secure: bool) -> str:
        """Return the Set-Cookie value that deletes the session cookie in the browser."""
        return _attributes(f"{self.name(secure=secure)}=", 0, secure)

    def open(self, value: str, *, secure: bool) -> Session:
        """Return the session in a cookie that we have encrypted and that has not expired.

        Raises:
            InvalidSession: It is not ours, changed, encrypted with a secret that is no longer known, expired, or from
                the future.
        """
        if len(value) > MAX_COOKIE_BYTES:
            raise InvalidSession("session: too long")
        session = self._sealing.open(value, name=self.name(secure=secure))
        now = self.now()
        if session.created > session.last_seen or session.last_seen > now + CLOCK_SKEW_S:
            raise InvalidSession("session: dated in the future")
        if now - session.last_seen >= self.idle_s:
            raise InvalidSession(f"session: idle for {now - session.last_seen} s")
        if now >= self.ends(session):
            raise InvalidSession(f"session: {now - session.created} s old")
        return session

    def ends(self, session: Session) -> int:
        """Return the time at which the session ends however busy it is, in seconds since the epoch."""
        ends = session.created + self.max_age_s
        return ends if session.expires_at is None else min(ends, session.expires_at)

    def renewed(self, session: Session, *, idle_s: float | None = None) -> Session | None:
        """Return the session as seen now, or None while that is not yet worth a new cookie.

        Args:
            session: The session from the cookie.
            idle_s: A shorter idle time for this session, in seconds; None: the cookie's own.
        """
        now = self.now()
        limit_s = self.idle_s if idle_s is None else min(idle_s, self.idle_s)
        return replace(session, last_seen=now) if now - session.last_seen > limit_s * RENEWAL_PART else None


def _attributes(pair: str, max_age_s: int, secure: bool) -> str:
    return f"{pair}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")

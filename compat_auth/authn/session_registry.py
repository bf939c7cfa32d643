"""Live sessions: the encrypted cookie says whose a session is, and the store says whether it is still valid."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from cachetools import TTLCache
from flask import Flask

from compat_auth.authn.revocation_events import UNHEARD_S, RevocationEvent, RevocationEvents, revocation_events_of
from compat_auth.authn.session_cookie import SessionCookie, new_secret
from compat_auth.authn.session_sealing import Session
from compat_auth.authn.shared import one_per_app
from compat_auth.config import Settings
from compat_auth.errors import InvalidSession
from compat_auth.identity import Identity
from compat_auth.store.migration import open_store
from compat_auth.store.tables.sessions import SessionRow, SessionRows, digest_of

# Longest time in which a logout elsewhere without an announcement goes unnoticed here.
BELIEVED_S = UNHEARD_S
_BELIEVED_ENTRIES = 10_000
_SWEEP_PAUSE_S = 3600.0
_TOUCH_PAUSE_S = 60.0


_EXTENSION = "compat_auth_sessions"


@dataclass(frozen=True, slots=True)
class _Live:
    """A live session: its user, the time of the question to the store (monotonic seconds), and the events heard before."""

    username: str
    read_at: float
    heard: int


class LiveSessions:
    """Starts, finds and revokes sessions. Any thread may use it; every method may raise BackendUnavailable.

    Args:
        cookie: Encrypts and decrypts the cookie.
        rows: The store.
        revocations: Announces logouts, and receives them; None: no other process is concerned.
        monotonic: Clock for the age of cached answers, in seconds.

    Attributes:
        cookie: Encrypts and decrypts the cookie.
    """

    def __init__(
        self,
        cookie: SessionCookie,
        rows: SessionRows,
        revocations: RevocationEvents | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cookie = cookie
        self._rows = rows
        self._revocations = revocations or RevocationEvents()
        self._lock = threading.Lock()
        self._live: TTLCache[str, _Live] = TTLCache(_BELIEVED_ENTRIES, BELIEVED_S, timer=monotonic)
        self._touched: TTLCache[bytes, bool] = TTLCache(_BELIEVED_ENTRIES, _TOUCH_PAUSE_S, timer=monotonic)
        self._monotonic = monotonic
        self._swept = monotonic()
        self._heard = 0
        # What was found before this event counts for nobody: to empty the cache would take time for each session.
        self._all_revoked = 0
        self._revocations.listen(self._forget)

    @classmethod
    def from_settings(cls, settings: Settings, revocations: RevocationEvents | None = None) -> LiveSessions | None:
        """Return the sessions of `[session]`, or None if no secret is set; opens no connection yet.

        Raises:
            ConfigError: A secret is too short, or the URL of the database is unusable.
        """
        cookie = SessionCookie.from_settings(settings)
        if cookie is None:
            return None
        return cls(cookie, SessionRows(open_store(settings.database_url.get_secret_value())), revocations)

    def start(self, identity: Identity, data: Mapping[str, Any] | None = None) -> Session:
        """Return a new session after a login; it has a new id, whatever cookie the browser had.

        Raises:
            ValueError: The user name is empty or too long to store.
        """
        self._sweep()
        now = self.cookie.now()
        session = Session(
            new_secret(),
            identity.username,
            identity.directory,
            identity.backend,
            now,
            now,
            new_secret(),
            identity.subject,
            identity.email,
            identity.mfa,
            data or {},
            identity.expires_at,
        )
        self._rows.add(session.id, SessionRow(session.username, session.directory, session.backend, now, now))
        return session

    def find(self, value: str, *, secure: bool, believed_s: float = BELIEVED_S) -> Session:
        """Return the session for a cookie.

        Args:
            value: Of the cookie.
            secure: Whether it came on HTTPS.
            believed_s: How old, in seconds, what the store has said of the session may be; `BELIEVED_S` at most.

        Raises:
            InvalidSession: The cookie is not ours or has expired, or its session was revoked.
        """
        session = self.cookie.open(value, secure=secure)
        credential_id = credential_id_of(session)
        asked_at = self._monotonic()
        with self._lock:
            live, heard = self._live.get(credential_id), self._heard
            is_known = live is not None and live.heard >= self._all_revoked and asked_at - live.read_at < believed_s
        username = live.username if live is not None and is_known else None
        if username is None:
            row = self._rows.find_live(session.id)
            if row is None:
                raise InvalidSession("session: logged out, or unknown")
            username = row.username
            with self._lock:
                # A logout that was announced during the query may have come too late for its result.
                if self._heard == heard:
                    self._live[credential_id] = _Live(username, asked_at, heard)
        if username != session.username:
            raise InvalidSession("session: of another user")
        return session

    def believable_s(self, session: Session) -> float:
        """Return for how many seconds `find` may be believed about a session; 0 where that is not known."""
        with self._lock:
            live = self._live.get(credential_id_of(session))
            if live is None or live.heard < self._all_revoked:
                return 0
            left_s = BELIEVED_S - (self._monotonic() - live.read_at)
        now = self.cookie.now()
        return max(0, min(left_s, self.cookie.idle_s - (now - session.last_seen), self.cookie.ends(session) - now))

    def renew(self, session: Session, *, idle_s: float | None = None) -> Session | None:
        """Return the session as seen now, and store that; None while that is not yet worth a new cookie."""
        renewed = self.cookie.renewed(session, idle_s=idle_s)
        if renewed is not None:
            digest = digest_of(renewed.id)
            with self._lock:
                # A browser that does not receive its new cookie (forward-auth) must not cause a write for each request.
                is_written = digest in self._touched
                if not is_written:
                    self._touched[digest] = True
            if not is_written:
                self._rows.touch(renewed.id, renewed.last_seen)
        return renewed

    def rewritten(self, session: Session, data: Mapping[str, Any]) -> Session:
        """Return the session with other data, as seen now; its id and its age stay."""
        renewed = replace(session, data=data, last_seen=max(session.last_seen, self.cookie.now()))
        self._rows.touch(renewed.id, renewed.last_seen)
        return renewed

    def end(self, session: Session) -> None:
        """Revoke one session: its cookie is invalid from now on."""
        self._rows.end(session.id, self.cookie.now())
        self._revocations.announce(RevocationEvent(credential_id=credential_id_of(session)))

    def list_live(self, username: str) -> dict[bytes, SessionRow]:
        """Return a user's live sessions by the digests of their ids, last seen first."""
        now = self.cookie.now()
        limits = {"seen_after": now - self.cookie.idle_s, "begun_after": now - self.cookie.max_age_s}
        return self._rows.list_live(username, **limits)

    def revoke_by_digest(self, username: str, digest: bytes) -> bool:
        """Revoke one session of a user, and return whether there was one."""
        is_ended = self._rows.revoke_by_digest(username, digest, self.cookie.now())
        if is_ended:
            self._revocations.announce(RevocationEvent(credential_id=credential_id_of_digest(digest)))
        return is_ended

    def revoke_all(self, username: str) -> None:
        """Revoke every session of a user."""
        self._rows.revoke_all(username, self.cookie.now())
        self._revocations.announce(RevocationEvent(username))

    def _forget(self, revocation: RevocationEvent | None) -> None:
        with self._lock:
            self._heard += 1
            if revocation is None or revocation.username:
                self._all_revoked = self._heard
            else:
                self._live.pop(revocation.credential_id, None)

    def _sweep(self) -> None:
        if self._monotonic() - self._swept < _SWEEP_PAUSE_S:
            return
        self._swept = self._monotonic()
        # A renewal can still arrive as long as its cookie is valid.
        self._rows.forget_older(self.cookie.now() - self.cookie.idle_s - int(_SWEEP_PAUSE_S))


def credential_id_of(session: Session) -> str:
    """Return the id by which a session is revoked; with the session's own id, a reader could log in."""
    return credential_id_of_digest(digest_of(session.id))


def credential_id_of_digest(digest: bytes) -> str:
    """Return the id by which a session is revoked if only its digest is known."""
    return f"session:{digest.hex()}"


def live_sessions_of(app: Flask, settings: Settings | None = None) -> LiveSessions | None:
    """Return the sessions of a Flask app: one object, so that a logout on one page is known on all others at once.

    Args:
        app: The app.
        settings: Used where the app has no sessions yet; None creates none.

    Raises:
        ConfigError: See `LiveSessions.from_settings`.
    """
    if settings is None:
        return cast("LiveSessions | None", app.extensions.get(_EXTENSION))
    return one_per_app(
        app, _EXTENSION, lambda: LiveSessions.from_settings(settings, revocation_events_of(app, settings))
    )

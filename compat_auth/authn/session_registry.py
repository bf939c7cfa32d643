"""Sessions that are alive: the sealed cookie says who, the store says whether still."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
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

# How long a logout elsewhere that was not announced may go unnoticed here.
BELIEVED_S = UNHEARD_S
_BELIEVED_ENTRIES = 10_000
_SWEEP_PAUSE_S = 3600.0
_TOUCH_PAUSE_S = 60.0


_EXTENSION = "compat_auth_sessions"


class LiveSessions:
    """Starts, finds and ends sessions. Any thread may use it; every method may raise BackendUnavailable.

    Args:
        cookie: Seals and opens.
        rows: The store.
        revocations: Where logouts are announced, and heard of; None: nobody else is concerned.
        monotonic: Clock for what is believed without asking, in seconds.

    Attributes:
        cookie: Seals and opens.
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
        self._alive: TTLCache[str, str] = TTLCache(_BELIEVED_ENTRIES, BELIEVED_S, timer=monotonic)
        self._touched: TTLCache[bytes, bool] = TTLCache(_BELIEVED_ENTRIES, _TOUCH_PAUSE_S, timer=monotonic)
        self._monotonic = monotonic
        self._swept = monotonic()
        self._heard = 0
        self._revocations.listen(self._forget)

    @classmethod
    def from_settings(cls, settings: Settings, revocations: RevocationEvents | None = None) -> LiveSessions | None:
        """Return the sessions of `[session]`, or None where no secret is set; opens nothing yet.

        Raises:
            ConfigError: A secret is too short, or the database's URL cannot work.
        """
        cookie = SessionCookie.from_settings(settings)
        if cookie is None:
            return None
        return cls(cookie, SessionRows(open_store(settings.database_url.get_secret_value())), revocations)

    def start(self, identity: Identity, data: Mapping[str, Any] | None = None) -> Session:
        """Return a new session for somebody who has just logged in: with a new id, whatever the browser had.

        Raises:
            ValueError: The user name is empty or too long to be stored.
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

    def find(self, value: str, *, secure: bool) -> Session:
        """Return the session of a cookie.

        Raises:
            InvalidSession: The cookie is not one of ours, has expired, or its session was ended.
        """
        session = self.cookie.open(value, secure=secure)
        credential_id = credential_id_of(session)
        with self._lock:
            believed, heard = self._alive.get(credential_id), self._heard
        if believed is None:
            row = self._rows.find_live(session.id)
            if row is None:
                raise InvalidSession("session: logged out, or not known here")
            believed = row.username
            with self._lock:
                # A logout that was announced while the store was being asked may have been too late for its answer.
                if self._heard == heard:
                    self._alive[credential_id] = believed
        if believed != session.username:
            raise InvalidSession("session: of another user")
        return session

    def renew(self, session: Session, *, idle_s: float | None = None) -> Session | None:
        """Return the session as seen now, and remember that; None while that is not yet worth a new cookie."""
        renewed = self.cookie.renewed(session, idle_s=idle_s)
        if renewed is not None:
            digest = digest_of(renewed.id)
            with self._lock:
                # A browser that does not get its new cookie (forward-auth) must not cause a write at each request.
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
        """End one session: its cookie is worth nothing from now on."""
        self._rows.end(session.id, self.cookie.now())
        self._revocations.announce(RevocationEvent(credential_id=credential_id_of(session)))

    def list_live(self, username: str) -> dict[bytes, SessionRow]:
        """Return a user's sessions that are alive by the digests of their ids, the last seen first."""
        now = self.cookie.now()
        limits = {"seen_after": now - self.cookie.idle_s, "begun_after": now - self.cookie.max_age_s}
        return self._rows.list_live(username, **limits)

    def revoke_by_digest(self, username: str, digest: bytes) -> bool:
        """End one session of a user, and return whether there was such a one."""
        is_ended = self._rows.revoke_by_digest(username, digest, self.cookie.now())
        if is_ended:
            self._revocations.announce(RevocationEvent(credential_id=credential_id_of_digest(digest)))
        return is_ended

    def revoke_all(self, username: str) -> None:
        """Log a user out everywhere."""
        self._rows.revoke_all(username, self.cookie.now())
        self._revocations.announce(RevocationEvent(username))

    def _forget(self, revocation: RevocationEvent | None) -> None:
        with self._lock:
            self._heard += 1
            if revocation is None or revocation.username:
                self._alive.clear()
            else:
                self._alive.pop(revocation.credential_id, None)

    def _sweep(self) -> None:
        if self._monotonic() - self._swept < _SWEEP_PAUSE_S:
            return
        self._swept = self._monotonic()
        # A renewal can still be on its way for as long as its cookie lives.
        self._rows.forget_older(self.cookie.now() - self.cookie.idle_s - int(_SWEEP_PAUSE_S))


def credential_id_of(session: Session) -> str:
    """Return what a session is revoked by; the id itself would let whoever hears it in."""
    return credential_id_of_digest(digest_of(session.id))


def credential_id_of_digest(digest: bytes) -> str:
    """Return what a session is revoked by that is known by its digest only."""
    return f"session:{digest.hex()}"


def live_sessions_of(app: Flask, settings: Settings | None = None) -> LiveSessions | None:
    """Return the sessions of a Flask app, so that a logout on one page is known on all others at once.

    Args:
        app: The app.
        settings: Where the app has none yet, these make them; None makes none.

    Raises:
        ConfigError: See `LiveSessions.from_settings`.
    """
    if settings is None:
        return cast("LiveSessions | None", app.extensions.get(_EXTENSION))
    return one_per_app(
        app, _EXTENSION, lambda: LiveSessions.from_settings(settings, revocation_events_of(app, settings))
    )

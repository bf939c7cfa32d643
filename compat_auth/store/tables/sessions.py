"""The table of sessions: one row for each session, and for each user the time of the last "log out everywhere"."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, insert, or_, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from compat_auth.store.database import Database
from compat_auth.store.schema import NAME_LENGTH, revocations, sessions


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A stored session; times in whole seconds since the epoch."""

    username: str
    directory: str
    backend: str
    created: int
    last_seen: int


def digest_of(session_id: str) -> bytes:
    """Return the digest under which a session is stored: with the id itself, a reader of the database could log in."""
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).digest()


class SessionRows:
    """The sessions in the database. Any thread may use it; every method may raise BackendUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, session_id: str, row: SessionRow) -> None:
        """Store a new session.

        Raises:
            ValueError: A name is empty or longer than the table allows.
        """
        names = (row.username, row.directory, row.backend)
        if not row.username or any(len(name) > NAME_LENGTH or "\0" in name for name in names):
            raise ValueError(f"a session's names must have 1 to {NAME_LENGTH} characters, none of them NUL")
        values = {
            "id_digest": digest_of(session_id),
            "username": row.username,
            "directory": row.directory,
            "backend": row.backend,
            "created": row.created,
            "last_seen": row.last_seen,
        }
        with self._database.write() as connection:
            connection.execute(insert(sessions).values(values))

    def find_live(self, session_id: str) -> SessionRow | None:
        """Return the session, or None when it is unknown, ended, or older than its user's "log out everywhere"."""
        with self._database.read() as connection:
            found = connection.execute(_FIND_LIVE, {"digest": digest_of(session_id)}).one_or_none()
        return None if found is None else _row(found)

    def list_live(self, username: str, *, seen_after: int, begun_after: int) -> dict[bytes, SessionRow]:
        """Return a user's live sessions by their digests, last seen first.

        Args:
            username: The user.
            seen_after: A session last seen before this time has expired.
            begun_after: A session older than this time has expired.
        """
        query = (
            _live()
            .where(sessions.c.username == username)
            .where(sessions.c.last_seen > seen_after, sessions.c.created > begun_after)
            .order_by(sessions.c.last_seen.desc(), sessions.c.created.desc(), sessions.c.id_digest)
        )
        with self._database.read() as connection:
            return {bytes(found.id_digest): _row(found) for found in connection.execute(query)}

    def touch(self, session_id: str, last_seen: int) -> None:
        """Store when a session was last used; never moves back in time."""
        with self._database.write() as connection:
            connection.execute(_TOUCH, {"digest": digest_of(session_id), "seen": last_seen})

    def end(self, session_id: str, now: int) -> None:
        """Revoke a session; an unknown one is ignored."""
        mine = (sessions.c.id_digest == digest_of(session_id), sessions.c.ended.is_(None))
        with self._database.write() as connection:
            connection.execute(update(sessions).where(*mine).values(ended=now))

    def revoke_by_digest(self, username: str, digest: bytes, now: int) -> bool:
        """Revoke a session of a user, and return whether there was one."""
        mine = (sessions.c.id_digest == digest, sessions.c.username == username, sessions.c.ended.is_(None))
        with self._database.write() as connection:
            return bool(connection.execute(update(sessions).where(*mine).values(ended=now)).rowcount)

    def revoke_all(self, username: str, now: int) -> None:
        """Revoke every session of a user that began up to now, whichever directory knew the user."""
        live = (sessions.c.username == username, sessions.c.ended.is_(None))
        with self._database.write() as connection:
            # Sessions of this very second are revoked by row: a login later in the same second is a new session.
            connection.execute(update(sessions).where(*live).values(ended=now))
            _revoke_begun_before(connection, username, now)

    def revoke_begun_before(self, username: str, time: int) -> None:
        """Revoke a user's sessions that began before a time."""
        with self._database.write() as connection:
            _revoke_begun_before(connection, username, time)

    def revoke_everyone(self, now: int) -> None:
        """Revoke every session."""
        with self._database.write() as connection:
            connection.execute(update(sessions).where(sessions.c.ended.is_(None)).values(ended=now))

    def forget_older(self, last_seen: int) -> int:
        """Delete sessions last seen before a time, and return how many there were."""
        with self._database.write() as connection:
            return connection.execute(delete(sessions).where(sessions.c.last_seen < last_seen)).rowcount


def _revoke_begun_before(connection: Connection, username: str, time: int) -> None:
    try:
        with connection.begin_nested():
            connection.execute(insert(revocations).values(username=username, not_before=time))
    except IntegrityError:
        mine = revocations.c.username == username
        connection.execute(update(revocations).where(mine, revocations.c.not_before < time).values(not_before=time))


def _live() -> Select[Any]:
    """Return the query for all sessions that are not revoked."""
    return (
        select(sessions)
        .outerjoin(revocations, revocations.c.username == sessions.c.username)
        .where(sessions.c.ended.is_(None))
        .where(or_(revocations.c.not_before.is_(None), sessions.c.created >= revocations.c.not_before))
    )


# Built once: to build them at each request costs more than to run them.
_BY_DIGEST = sessions.c.id_digest == bindparam("digest", type_=sessions.c.id_digest.type)
_FIND_LIVE = _live().where(_BY_DIGEST)
_SEEN = bindparam("seen", type_=sessions.c.last_seen.type)
_TOUCH = update(sessions).where(_BY_DIGEST, sessions.c.last_seen < _SEEN).values(last_seen=_SEEN)


def _row(found: Row[Any]) -> SessionRow:
    return SessionRow(found.username, found.directory, found.backend, found.created, found.last_seen)

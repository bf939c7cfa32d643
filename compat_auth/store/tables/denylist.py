"""The tables of issued tokens and of the denylist."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ColumnElement, bindparam, delete, insert, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from compat_auth.errors import BackendUnavailable
from compat_auth.store.database import Database
from compat_auth.store.schema import JTI_LENGTH, NAME_LENGTH, denylist, denylist_version, issued_tokens

EntryKind = Literal["jti", "sub", "digest"]
_ONLY = 1
# Versions grow by random steps, so that two histories of one store (before and after a restore, or a standby that
# lagged) do not reach the same number. 2**63 is reached after a thousand million steps.
_MAX_STEP = 2**32
# Built once: they run every second, and at each token that is issued.
_KNOWN = bindparam("known", type_=denylist.c.version.type)
_VERSION = select(denylist_version.c.version).where(denylist_version.c.id == _ONLY)
_ONE_OF = select(denylist.c.key).where(denylist.c.version == _KNOWN).limit(1)
_AFTER = select(denylist).where(denylist.c.version > _KNOWN)
_ALL = select(denylist)
_ADD_ISSUED = insert(issued_tokens)
ALL_UP_TO = "all"
"""Key of the entry that revokes every JWT issued up to a time; no digest has this form."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token that was issued to a caller; times in whole seconds since the epoch.

    Attributes:
        jti: Its `jti`, or the digest of a token without one.
        digest: SHA-256 of the token.
        username: Its user.
        subject: Its `sub`.
        credential_id: `Identity.credential_id` of what it was made from, or "".
        issued: `iat`.
        expires: `exp`.
        backend: The backends that accepted the credential, separated by blanks; None: a version that did not know stored it.
    """

    jti: str
    digest: bytes
    username: str
    subject: str
    credential_id: str
    issued: int
    expires: int
    backend: str | None = None


@dataclass(frozen=True, slots=True)
class DenylistEntry:
    """An entry of the denylist: what is revoked.

    Attributes:
        kind: "jti": one token; "sub": tokens of a user; "digest": one token without `jti`, by
            `compat_auth.tokens.denylist.signed_digest`, or `ALL_UP_TO`.
        key: The jti, sub or digest.
        expires: When the token expires anyway, in seconds since the epoch.
        not_before: For "sub": revokes tokens issued up to this time, in seconds since the epoch.
    """

    kind: EntryKind
    key: str
    expires: int
    not_before: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of reading the denylist.

    Attributes:
        version: The newest version.
        found: Entries added after the known version.
        is_whole: Every entry was read: the store does not know the known version, so it may be another store, or an
            older state of this one.
    """

    version: int
    found: list[DenylistEntry]
    is_whole: bool


def all_up_to(time: int, expires: int) -> DenylistEntry:
    """Return the entry that revokes every JWT issued up to a time, in seconds since the epoch."""
    return DenylistEntry("digest", ALL_UP_TO, expires, time)


class DenylistRows:
    """The tables. Any thread may use it; every method may raise BackendUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def is_there(self) -> bool:
        """Whether there is a database at all: what has never been written need not be read."""
        return self._database.is_there

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def add(self, token: IssuedToken) -> None:
        """Store a token that is about to be issued; an existing row stays as it is.

        Airflow 3.0 sets no `jti`: two logins of one user within one second return the same token twice.

        Raises:
            ValueError: A name is empty or longer than the table allows.
        """
        names = (token.username, token.subject, token.credential_id, token.backend or "")
        if not token.jti or not token.username or len(token.jti) > JTI_LENGTH or "\0" in token.jti + "".join(names):
            raise ValueError("jti or username: empty, too long, or with NUL")
        if any(len(name) > NAME_LENGTH for name in names):
            raise ValueError(f"a name is longer than {NAME_LENGTH} characters")
        values = {name: getattr(token, name) for name in IssuedToken.__slots__}
        with self._database.write() as connection:
            try:
                with connection.begin_nested():
                    connection.execute(_ADD_ISSUED, values)
            except IntegrityError:
                found = _issued(connection, issued_tokens.c.jti == token.jti)
                if not any(hmac.compare_digest(known.digest, token.digest) for known in found):
                    raise BackendUnavailable("the upstream has issued two tokens with the same jti") from None

    def find(self, jti: str) -> IssuedToken | None:
        """Return the token with that `jti`."""
        with self._database.read() as connection:
            found = _issued(connection, issued_tokens.c.jti == jti)
        return found[0] if found else None

    def revoke(self, what: Iterable[DenylistEntry]) -> None:
        """Add entries; an entry that expires later stays as it is."""
        with self._database.write() as connection:
            _add_entries(connection, list(what))

    def revoke_made_from(self, credential_id: str, now: int) -> list[IssuedToken]:
        """Revoke the tokens that were made from a credential, and return those that have not expired."""
        with self._database.write() as connection:
            return revoke_made_from(connection, (credential_id,), now)

    def revoke_issued_to(self, username: str, now: int) -> list[IssuedToken]:
        """Revoke the tokens that were issued to a user, and return those that have not expired."""
        with self._database.write() as connection:
            return _revoke_issued(connection, issued_tokens.c.username == username, now)

    def read(self, after: int) -> Reading:
        """Return the entries added after a version; -1 for all.

        Expired entries are included: a clock that was wrong for a while must not make a process forget them.
        """
        with self._database.read() as connection:
            version = _version(connection)
            if version == after:
                return Reading(version, [], is_whole=False)
            # Only a store that has created the known version can say what came after it.
            continues = version > after >= 0 and connection.scalar(_ONE_OF, {"known": after}) is not None
            rows = (connection.execute(_AFTER, {"known": after}) if continues else connection.execute(_ALL)).all()
        found = [DenylistEntry(row.kind, row.key, row.expires, row.not_before) for row in rows]
        return Reading(version, found, is_whole=not continues)

    def require_writable(self) -> None:
        """Raise unless the store exists and accepts writes.

        Raises:
            BackendUnavailable: It does not.
        """
        with self._database.write() as connection:
            # Writes the same number again: that needs the disk, and announces no change.
            mine = denylist_version.c.id == _ONLY
            connection.execute(update(denylist_version).where(mine).values(version=denylist_version.c.version))
            _version(connection)

    def forget_older(self, now: int) -> int:
        """Delete entries that expired before a time, and return how many there were."""
        with self._database.write() as connection:
            connection.execute(delete(issued_tokens).where(issued_tokens.c.expires < now))
            return connection.execute(delete(denylist).where(denylist.c.expires < now)).rowcount


def revoke_made_from(connection: Connection, credential_ids: Sequence[str], now: int) -> list[IssuedToken]:
    """Revoke tokens made from credentials, in the caller's transaction; return those that have not expired."""
    return _revoke_issued(connection, issued_tokens.c.credential_id.in_(credential_ids), now)


def _revoke_issued(connection: Connection, which: ColumnElement[bool], now: int) -> list[IssuedToken]:
    # Expired ones are revoked too, because the clock may be wrong.
    found = _issued(connection, which)
    _add_entries(connection, [DenylistEntry("jti", token.jti, token.expires) for token in found])
    return [token for token in found if token.expires > now]


def _issued(connection: Connection, which: ColumnElement[bool]) -> list[IssuedToken]:
    rows = connection.execute(select(issued_tokens).where(which)).all()
    return [IssuedToken(*(getattr(row, name) for name in IssuedToken.__slots__)) for row in rows]


def _version(connection: Connection) -> int:
    version = connection.scalar(_VERSION)
    if version is None:
        raise BackendUnavailable(
            "database_url: the table compat_auth_denial_version is empty, so revocations cannot be read; "
            "restore all tables from a backup"
        )
    return int(version)


def _add_entries(connection: Connection, what: Sequence[DenylistEntry]) -> None:
    if not what:
        return
    # The row stays locked until the commit: a reader that sees this version sees all entries below it.
    mine = denylist_version.c.id == _ONLY
    step = 1 + secrets.randbelow(_MAX_STEP)
    connection.execute(update(denylist_version).where(mine).values(version=denylist_version.c.version + step))
    version = _version(connection)
    for entry in what:
        same = (denylist.c.kind == entry.kind) & (denylist.c.key == entry.key)
        known = connection.execute(select(denylist).where(same)).one_or_none()
        values = {
            "expires": max(entry.expires, known.expires if known else 0),
            "not_before": max(entry.not_before, known.not_before if known else 0),
            "version": version,
        }
        if known is None:
            connection.execute(insert(denylist).values(kind=entry.kind, key=entry.key, **values))
        else:
            connection.execute(update(denylist).where(same).values(values))

"""Tokens that were given to callers, and tokens that are no longer good: what the store knows of both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.engine import Connection

from compat_auth.store.database import Database
from compat_auth.store.schema import JTI_LENGTH, NAME_LENGTH, denial_version, denials, issued_tokens

DenialKind = Literal["jti", "sub", "digest"]
_ONLY = 1


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token that a caller has been given; moments in whole seconds since the epoch.

    Attributes:
        jti: Its own name.
        digest: SHA-256 of the token.
        username: Whose it is.
        subject: Its `sub`.
        credential_id: `Identity.credential_id` of what it was made from, or "".
        issued: `iat`.
        expires: `exp`.
    """

    jti: str
    digest: bytes
    username: str
    subject: str
    credential_id: str
    issued: int
    expires: int


@dataclass(frozen=True, slots=True)
class Denial:
    """What is no longer good.

    Attributes:
        kind: "jti": one token; "sub": tokens of a user; "digest": one token without a name, by
            `compat_auth.denials.signed_digest`.
        key: The jti, sub or digest.
        expires: From when on the token is worth nothing anyway, in seconds since the epoch.
        not_before: "sub": tokens made up to this moment, in seconds since the epoch.
    """

    kind: DenialKind
    key: str
    expires: int
    not_before: int = 0


class DenialRows:
    """The tables. Any thread may use it; every method may raise BackendUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def is_there(self) -> bool:
        """Whether there is a database at all: what has never been written need not be read."""
        return self._database.is_there

    def add(self, token: IssuedToken) -> None:
        """Remember a token that is about to be given away.

        Raises:
            ValueError: A name is empty or longer than the table allows.
        """
        names = (token.username, token.subject, token.credential_id)
        if not token.jti or not token.username or len(token.jti) > JTI_LENGTH or "\0" in token.jti + "".join(names):
            raise ValueError("jti or username: empty, too long, or with NUL")
        if any(len(name) > NAME_LENGTH for name in names):
            raise ValueError(f"a name is longer than {NAME_LENGTH} characters")
        values = {name: getattr(token, name) for name in IssuedToken.__slots__}
        with self._database.write() as connection:
            connection.execute(insert(issued_tokens).values(values))

    def find(self, jti: str) -> IssuedToken | None:
        """Return the token of that name."""
        with self._database.read() as connection:
            found = _issued(connection, issued_tokens.c.jti == jti)
        return found[0] if found else None

    def deny(self, what: Iterable[Denial]) -> None:
        """Write down what is no longer good; what is denied for longer already stays so."""
        with self._database.write() as connection:
            _deny(connection, what)

    def deny_made_from(self, credential_id: str, now: int) -> list[IssuedToken]:
        """Deny the tokens that were made from a credential and are still alive, and return them."""
        with self._database.write() as connection:
            return deny_made_from(connection, (credential_id,), now)

    def deny_given_to(self, username: str, now: int) -> list[IssuedToken]:
        """Deny the tokens that a user was given and that are still alive, and return them."""
        with self._database.write() as connection:
            return _deny_issued(connection, issued_tokens.c.username == username, now)

    def read(self, after: int, now: int) -> tuple[int, list[Denial]]:
        """Return the newest version, and what was denied after the given one and still counts."""
        newest = select(denial_version.c.version).where(denial_version.c.id == _ONLY)
        query = select(denials).where(denials.c.version > after, denials.c.expires > now)
        with self._database.read() as connection:
            version: int = connection.scalar(newest) or 0
            if version <= after:
                return version, []
            rows = connection.execute(query).all()
        return version, [Denial(row.kind, row.key, row.expires, row.not_before) for row in rows]

    def forget_older(self, now: int) -> int:
        """Delete what has expired by then, and return how many denials there were."""
        with self._database.write() as connection:
            connection.execute(delete(issued_tokens).where(issued_tokens.c.expires < now))
            return connection.execute(delete(denials).where(denials.c.expires < now)).rowcount


def deny_made_from(connection: Connection, credential_ids: Sequence[str], now: int) -> list[IssuedToken]:
    """Deny the tokens that were made from credentials and are still alive, in the transaction that ends those."""
    return _deny_issued(connection, issued_tokens.c.credential_id.in_(credential_ids), now)


def _deny_issued(connection: Connection, which: ColumnElement[bool], now: int) -> list[IssuedToken]:
    found = _issued(connection, which & (issued_tokens.c.expires > now))
    if found:
        _deny(connection, (Denial("jti", token.jti, token.expires) for token in found))
    return found


def _issued(connection: Connection, which: ColumnElement[bool]) -> list[IssuedToken]:
    rows = connection.execute(select(issued_tokens).where(which)).all()
    return [IssuedToken(*(getattr(row, name) for name in IssuedToken.__slots__)) for row in rows]


def _deny(connection: Connection, what: Iterable[Denial]) -> None:
    # The row's lock is held until the commit: whoever reads this version reads all that is below it.
    mine = denial_version.c.id == _ONLY
    connection.execute(update(denial_version).where(mine).values(version=denial_version.c.version + 1))
    version = connection.scalar(select(denial_version.c.version).where(mine))
    for denial in what:
        same = (denials.c.kind == denial.kind) & (denials.c.key == denial.key)
        known = connection.execute(select(denials).where(same)).one_or_none()
        values = {
            "expires": max(denial.expires, known.expires if known else 0),
            "not_before": max(denial.not_before, known.not_before if known else 0),
            "version": version,
        }
        if known is None:
            connection.execute(insert(denials).values(kind=denial.kind, key=denial.key, **values))
        else:
            connection.execute(update(denials).where(same).values(values))

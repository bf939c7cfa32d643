"""The table of personal tokens: the id of a token, its owner, and an HMAC of its text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import String, bindparam, delete, func, insert, or_, select, text, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from compat_auth.crypto.strict_json import is_list, is_object
from compat_auth.errors import InvalidValue, NameTaken, NoSuchToken
from compat_auth.store.database import Database
from compat_auth.store.schema import personal_tokens, role_accounts
from compat_auth.store.tables.denylist import revoke_made_from

CREDENTIAL_KIND = "personal_token:"
"""Prefix of `Identity.credential_id` for a personal token; its public id follows."""
_TABLE = personal_tokens
_BY_NAME = (_TABLE.c.username, _TABLE.c.name, _TABLE.c.created)


@dataclass(frozen=True, slots=True)
class PersonalToken:
    """A personal token without its secret; times in whole seconds since the epoch.

    Attributes:
        id: Public id.
        username: Its owner, as the directory spells the name.
        directory: The directory that knew the owner at creation, or "".
        upstream_id: The owner's id in the upstream's database at creation, or "".
        name: The owner's name for it.
        scopes: Its scopes and names of bundles, as written.
        created: When it was created.
        created_by: Who created it.
        expires: When it expires.
        digest: HMAC of the whole token with `pepper_id`.
        pepper_id: Id of the pepper.
        old_digest: HMAC of the token before the last refresh, or b"".
        old_pepper_id: Id of its pepper.
        old_until: When the previous secret stops working.
        refreshed: When the token was last refreshed, or None.
        revoked: When it was revoked, or None.
        reason: Why it was revoked.
        owner_missing: Since when no directory knows the owner, or None.
        last_used: When it was last used, exact to five minutes, or None.
        last_address: Address of the last client.
        last_agent: User-Agent of the last client.
        is_role: The owner is a role account.
        certificate: `x5t#S256` of the client certificate beside which alone it works, or "".
    """

    id: str
    username: str
    directory: str
    upstream_id: str
    name: str
    scopes: tuple[str, ...]
    created: int
    created_by: str
    expires: int
    digest: bytes = field(repr=False)
    pepper_id: str
    old_digest: bytes = field(default=b"", repr=False)
    old_pepper_id: str = ""
    old_until: int = 0
    refreshed: int | None = None
    revoked: int | None = None
    reason: str = ""
    owner_missing: int | None = None
    last_used: int | None = None
    last_address: str = ""
    last_agent: str = ""
    is_role: bool = False
    certificate: str = ""

    def is_alive(self, now: int) -> bool:
        """Return whether it is neither revoked nor expired."""
        return self.revoked is None and now < self.expires


class PersonalTokenRows:
    """The tokens in the database. Any thread may use it; every method may raise BackendUnavailable."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def find(self, token_id: str) -> PersonalToken | None:
        """Return the token with that id, revoked or expired ones too."""
        with self.database.read() as connection:
            found = connection.execute(_FIND, {"token_id": token_id}).mappings().first()
        return None if found is None else token_of(found)

    def list(self, username: str | None = None, *, alive_at: int | None = None) -> tuple[PersonalToken, ...]:
        """Return the tokens of a user, or of all users; with `alive_at` only those that are active at that time."""
        query = select_tokens().order_by(*_BY_NAME)
        if username is not None:
            query = query.where(_TABLE.c.username == username)
        if alive_at is not None:
            query = query.where(_TABLE.c.revoked.is_(None), _TABLE.c.expires > alive_at)
        with self.database.read() as connection:
            return tuple(map(token_of, connection.execute(query).mappings()))

    def add(self, token: PersonalToken, *, limit: int) -> None:
        """Store a new token.

        Raises:
            NameTaken: An active token of that user has that name.
            InvalidValue: The user has that many active tokens already; or the name has become, or ceased to be, a role
                account since it was checked.
        """
        mine = (_TABLE.c.username == token.username, _TABLE.c.revoked.is_(None))
        with self.database.write() as connection:
            _lock_user(connection, token.username)
            role = connection.scalar(select(role_accounts.c.username).where(role_accounts.c.username == token.username))
            if (role is not None) != token.is_role:
                raise InvalidValue(f"{token.username!r} has just become a role account, or ceased to be one; try again")
            # A name is free again when its token has expired.
            ended = update(_TABLE).where(*mine, _TABLE.c.expires <= token.created)
            connection.execute(ended.values(revoked=_TABLE.c.expires, reason="expired"))
            if (connection.scalar(select(func.count()).select_from(_TABLE).where(*mine)) or 0) >= limit:
                raise InvalidValue(f"{token.username!r} already has {limit} tokens; revoke one that is not in use")
            try:
                with connection.begin_nested():
                    connection.execute(insert(_TABLE).values(**_values(token), notice_lease=0))
            except IntegrityError:
                raise NameTaken(f"{token.username!r} has a token named {token.name!r}; choose another name") from None

    def refresh(self, before: PersonalToken, after: PersonalToken) -> None:
        """Replace the old secret with the new one.

        Raises:
            NoSuchToken: It was revoked or refreshed in the meantime.
        """
        same = (_TABLE.c.id == before.id, _TABLE.c.digest == before.digest, _TABLE.c.revoked.is_(None))
        with self.database.write() as connection:
            changed = connection.execute(update(_TABLE).where(*same).values(**_values(after), noticed_days=None))
            if not changed.rowcount:
                raise NoSuchToken(f"{before.id}: no such token any more; list the tokens again")
            if not after.old_digest:
                revoke_made_from(connection, (CREDENTIAL_KIND + before.id,), after.refreshed or 0)

    def rekey(self, before: PersonalToken, *, digest: bytes, pepper_id: str) -> None:
        """Store the digest of the same token with another pepper."""
        same = (_TABLE.c.id == before.id, _TABLE.c.digest == before.digest)
        with self.database.write() as connection:
            connection.execute(update(_TABLE).where(*same).values(digest=digest, pepper_id=pepper_id))

    def revoke(self, token_id: str, *, now: int, reason: str) -> bool:
        """Revoke a token, and return whether it was active."""
        mine = (_TABLE.c.id == token_id, _TABLE.c.revoked.is_(None))
        with self.database.write() as connection:
            revoke_made_from(connection, (CREDENTIAL_KIND + token_id,), now)
            return bool(connection.execute(update(_TABLE).where(*mine).values(revoked=now, reason=reason)).rowcount)

    def revoke_all(self, username: str, *, now: int, reason: str) -> int:
        """Revoke all tokens of a user, and return how many were active."""
        mine = (_TABLE.c.username == username, _TABLE.c.revoked.is_(None))
        with self.database.write() as connection:
            # A token that is being created is either seen here, or its creation sees the owner's new state.
            _lock_user(connection, username)
            ids = connection.scalars(select(_TABLE.c.id).where(*mine)).all()
            revoke_made_from(connection, [CREDENTIAL_KIND + token_id for token_id in ids], now)
            return connection.execute(update(_TABLE).where(*mine).values(revoked=now, reason=reason)).rowcount

    def mark_owner(self, token: PersonalToken, missing: int | None) -> None:
        """Store since when no directory knows the owner of a user's tokens; None: known again."""
        mine = (_TABLE.c.username == token.username, _TABLE.c.revoked.is_(None))
        changes = _TABLE.c.owner_missing.is_(None) if missing is not None else _TABLE.c.owner_missing.is_not(None)
        with self.database.write() as connection:
            connection.execute(update(_TABLE).where(*mine, changes).values(owner_missing=missing))

    def delete_dead(self, before: int) -> int:
        """Delete tokens that were revoked or expired before a time, and return how many there were."""
        with self.database.write() as connection:
            gone = or_(_TABLE.c.revoked < before, _TABLE.c.expires < before)
            return connection.execute(delete(_TABLE).where(gone)).rowcount

    def expiring(self, now: int, *, before: int) -> tuple[tuple[PersonalToken, int | None], ...]:
        """Return active tokens that expire before a time, each with the days of its last notice."""
        query = select_tokens().where(_TABLE.c.revoked.is_(None), _TABLE.c.expires > now, _TABLE.c.expires < before)
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(_TABLE.c.expires)).mappings()
            return tuple((token_of(row), row["noticed_days"]) for row in rows)

    def count_expiring(self, now: int, *, before: int) -> int:
        """Return how many active tokens expire before a time."""
        alive = (_TABLE.c.revoked.is_(None), _TABLE.c.expires > now, _TABLE.c.expires < before)
        with self.database.read() as connection:
            return connection.execute(select(func.count()).select_from(_TABLE).where(*alive)).scalar_one()

    def lease_notice(self, token_id: str, now: int, *, until: int) -> bool:
        """Take the lease on the next notice until a time, and return whether this process has it."""
        mine = (_TABLE.c.id == token_id, _TABLE.c.notice_lease <= now, _TABLE.c.revoked.is_(None))
        with self.database.write() as connection:
            return bool(connection.execute(update(_TABLE).where(*mine).values(notice_lease=until)).rowcount)

    def end_notice(self, token_id: str, days: int) -> None:
        """Record that the notice for so many days was sent."""
        with self.database.write() as connection:
            given = update(_TABLE).where(_TABLE.c.id == token_id).values(noticed_days=days, notice_lease=0)
            connection.execute(given)


def select_tokens() -> Any:
    """Return the query for all tokens, each with `is_role`."""
    is_role = role_accounts.c.username.is_not(None).label("is_role")
    joined = _TABLE.outerjoin(role_accounts, role_accounts.c.username == _TABLE.c.username)
    return select(_TABLE, is_role).select_from(joined)


# Built once: to build it at each request costs more than to run it.
_FIND = select_tokens().where(_TABLE.c.id == bindparam("token_id", type_=String()))


def _lock_user(connection: Connection, username: str) -> None:
    # Two concurrent writers could both find room for one more. SQLite has only one writer at a time.
    if connection.dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(hashtext('compat_auth tokens'), hashtext(:username))")
        connection.execute(lock, {"username": username})


def _values(token: PersonalToken) -> dict[str, Any]:
    names = [name for name in token.__dataclass_fields__ if name not in ("is_role", "certificate")]
    values = {name: getattr(token, name) for name in names}
    # A program that knows nothing of certificates cannot read the scopes of such a token, and so refuses it.
    limits = {"scopes": token.scopes, "certificate": token.certificate} if token.certificate else token.scopes
    values["scopes"] = json.dumps(limits)
    for name in ("old_digest", "old_pepper_id", "old_until"):
        values[name] = values[name] or None
    return values


def token_of(row: Mapping[Any, Any]) -> PersonalToken:
    """Return the token in a row of that query."""
    values = dict(row)
    for name in ("noticed_days", "notice_lease"):
        del values[name]
    limits: object = json.loads(values["scopes"])
    if is_object(limits):
        values["certificate"] = limits["certificate"]
        limits = limits["scopes"]
    values["scopes"] = tuple(limits) if is_list(limits) else ()
    for name, nothing in (("old_digest", b""), ("old_pepper_id", ""), ("old_until", 0)):
        values[name] = values[name] or nothing
    return PersonalToken(**values)

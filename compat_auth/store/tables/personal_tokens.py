"""Personal tokens as they are stored: what identifies a token, whose it is, and a digest that only we can make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, func, insert, or_, select, text, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from compat_auth.errors import InvalidValue, NameTaken, NoSuchToken
from compat_auth.store.database import Database
from compat_auth.store.schema import personal_tokens, role_accounts
from compat_auth.store.tables.denylist import deny_made_from

CREDENTIAL_KIND = "personal_token:"
"""What `Identity.credential_id` begins with for a personal token; its public id follows."""
_TABLE = personal_tokens
_BY_NAME = (_TABLE.c.username, _TABLE.c.name, _TABLE.c.created)


@dataclass(frozen=True, slots=True)
class PersonalToken:
    """A personal token without its secret; moments in whole seconds since the epoch.

    Attributes:
        id: Public id.
        username: Its owner, as the directory spells the name.
        directory: Where the owner was found when it was made, or "".
        upstream_id: The owner's key in the upstream's database then, or "".
        name: What the owner calls it.
        scopes: What it is limited to, as it was written: scopes and names of bundles.
        created: When it was made.
        created_by: By whom.
        expires: From when on it does not work.
        digest: Of the whole token, made with `pepper_id`.
        pepper_id: Which pepper.
        old_digest: Of the secret before the last refresh, or b"".
        old_pepper_id: Which pepper.
        old_until: From when on the secret before does not work.
        refreshed: When the secret was last made anew, or None.
        revoked: From when on it is dead for good, or None.
        reason: Why.
        owner_missing: Since when no directory knows the owner, or None.
        last_used: When it was last used, exact to five minutes, or None.
        last_address: From where.
        last_agent: By which program, as that said.
        is_role: The owner is a role account.
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

    def is_alive(self, now: int) -> bool:
        """Return whether it works, as far as it is concerned itself."""
        return self.revoked is None and now < self.expires


class PersonalTokenRows:
    """The tokens in the database. Any thread may use it; every method may raise BackendUnavailable."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def find(self, token_id: str) -> PersonalToken | None:
        """Return the token of that id, dead or alive."""
        with self.database.read() as connection:
            found = connection.execute(_select().where(_TABLE.c.id == token_id)).mappings().first()
        return None if found is None else _token(found)

    def list(self, username: str | None = None, *, alive_at: int | None = None) -> tuple[PersonalToken, ...]:
        """Return the tokens of a user, or everybody's; with `alive_at` only those that work at that moment."""
        query = _select().order_by(*_BY_NAME)
        if username is not None:
            query = query.where(_TABLE.c.username == username)
        if alive_at is not None:
            query = query.where(_TABLE.c.revoked.is_(None), _TABLE.c.expires > alive_at)
        with self.database.read() as connection:
            return tuple(map(_token, connection.execute(query).mappings()))

    def add(self, token: PersonalToken, *, limit: int) -> None:
        """Store a new token.

        Raises:
            NameTaken: A token of that user that is alive has that name.
            InvalidValue: The user has so many alive already; or the name has become a role account's, or is none's any
                more, since somebody looked.
        """
        mine = (_TABLE.c.username == token.username, _TABLE.c.revoked.is_(None))
        with self.database.write() as connection:
            _take_turns(connection, token.username)
            role = connection.scalar(select(role_accounts.c.username).where(role_accounts.c.username == token.username))
            if (role is not None) != token.is_role:
                raise InvalidValue(f"{token.username!r} has become a role account, or has just been one; try again")
            # A name is free again when the token that had it has come to its end.
            ended = update(_TABLE).where(*mine, _TABLE.c.expires <= token.created)
            connection.execute(ended.values(revoked=_TABLE.c.expires, reason="expired"))
            if (connection.scalar(select(func.count()).select_from(_TABLE).where(*mine)) or 0) >= limit:
                raise InvalidValue(f"{token.username!r} has {limit} tokens already; revoke one that is not in use")
            try:
                with connection.begin_nested():
                    connection.execute(insert(_TABLE).values(**_values(token), notice_lease=0))
            except IntegrityError:
                raise NameTaken(f"{token.username!r} has a token named {token.name!r}; choose another name") from None

    def refresh(self, before: PersonalToken, after: PersonalToken) -> None:
        """Put the new secret in the place of the old one.

        Raises:
            NoSuchToken: It was revoked, or refreshed by somebody else, in the meantime.
        """
        same = (_TABLE.c.id == before.id, _TABLE.c.digest == before.digest, _TABLE.c.revoked.is_(None))
        with self.database.write() as connection:
            changed = connection.execute(update(_TABLE).where(*same).values(**_values(after), noticed_days=None))
            if not changed.rowcount:
                raise NoSuchToken(f"{before.id}: no such token any more")
            if not after.old_digest:
                deny_made_from(connection, (CREDENTIAL_KIND + before.id,), after.refreshed or 0)

    def rekey(self, before: PersonalToken, *, digest: bytes, pepper_id: str) -> None:
        """Keep the digest of the same token under another pepper."""
        same = (_TABLE.c.id == before.id, _TABLE.c.digest == before.digest)
        with self.database.write() as connection:
            connection.execute(update(_TABLE).where(*same).values(digest=digest, pepper_id=pepper_id))

    def revoke(self, token_id: str, *, now: int, reason: str) -> bool:
        """Kill a token for good, and return whether it was alive."""
        mine = (_TABLE.c.id == token_id, _TABLE.c.revoked.is_(None))
        with self.database.write() as connection:
            deny_made_from(connection, (CREDENTIAL_KIND + token_id,), now)
            return bool(connection.execute(update(_TABLE).where(*mine).values(revoked=now, reason=reason)).rowcount)

    def revoke_all(self, username: str, *, now: int, reason: str) -> int:
        """Kill all tokens of a user, and return how many were alive."""
        mine = (_TABLE.c.username == username, _TABLE.c.revoked.is_(None))
        with self.database.write() as connection:
            # One that is being made is seen, or sees what its owner has become.
            _take_turns(connection, username)
            ids = connection.scalars(select(_TABLE.c.id).where(*mine)).all()
            deny_made_from(connection, [CREDENTIAL_KIND + token_id for token_id in ids], now)
            return connection.execute(update(_TABLE).where(*mine).values(revoked=now, reason=reason)).rowcount

    def mark_owner(self, token: PersonalToken, missing: int | None) -> None:
        """Remember since when no directory knows the owner of a user's tokens; None: known again."""
        mine = (_TABLE.c.username == token.username, _TABLE.c.revoked.is_(None))
        changes = _TABLE.c.owner_missing.is_(None) if missing is not None else _TABLE.c.owner_missing.is_not(None)
        with self.database.write() as connection:
            connection.execute(update(_TABLE).where(*mine, changes).values(owner_missing=missing))

    def delete_dead(self, before: int) -> int:
        """Delete the tokens that were revoked or expired before that moment, and return how many there were."""
        with self.database.write() as connection:
            gone = or_(_TABLE.c.revoked < before, _TABLE.c.expires < before)
            return connection.execute(delete(_TABLE).where(gone)).rowcount

    def expiring(self, now: int, *, before: int) -> tuple[tuple[PersonalToken, int | None], ...]:
        """Return the tokens that work and end before that moment, each with the days of its last notice."""
        query = _select().where(_TABLE.c.revoked.is_(None), _TABLE.c.expires > now, _TABLE.c.expires < before)
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(_TABLE.c.expires)).mappings()
            return tuple((_token(row), row["noticed_days"]) for row in rows)

    def lease_notice(self, token_id: str, now: int, *, until: int) -> bool:
        """Return whether this process is to give the next notice, until that moment."""
        mine = (_TABLE.c.id == token_id, _TABLE.c.notice_lease <= now, _TABLE.c.revoked.is_(None))
        with self.database.write() as connection:
            return bool(connection.execute(update(_TABLE).where(*mine).values(notice_lease=until)).rowcount)

    def end_notice(self, token_id: str, days: int) -> None:
        """Remember that the notice of so many days was given."""
        with self.database.write() as connection:
            given = update(_TABLE).where(_TABLE.c.id == token_id).values(noticed_days=days, notice_lease=0)
            connection.execute(given)


def _select() -> Any:
    is_role = role_accounts.c.username.is_not(None).label("is_role")
    joined = _TABLE.outerjoin(role_accounts, role_accounts.c.username == _TABLE.c.username)
    return select(_TABLE, is_role).select_from(joined)


def _take_turns(connection: Connection, username: str) -> None:
    # Two at once could both find room for one more. SQLite has one writer at a time anyway.
    if connection.dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(hashtext('compat_auth tokens'), hashtext(:username))")
        connection.execute(lock, {"username": username})


def _values(token: PersonalToken) -> dict[str, Any]:
    names = [name for name in token.__dataclass_fields__ if name != "is_role"]
    values = {name: getattr(token, name) for name in names}
    values["scopes"] = json.dumps(token.scopes)
    for name in ("old_digest", "old_pepper_id", "old_until"):
        values[name] = values[name] or None
    return values


def _token(row: Mapping[Any, Any]) -> PersonalToken:
    values = dict(row)
    for name in ("noticed_days", "notice_lease"):
        del values[name]
    values["scopes"] = tuple(json.loads(values["scopes"]))
    for name, nothing in (("old_digest", b""), ("old_pepper_id", ""), ("old_until", 0)):
        values[name] = values[name] or nothing
    return PersonalToken(**values)

"""The table of role accounts: users that are no person, whose tokens a group manages."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import String, bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError

from compat_auth.errors import InvalidValue, NameTaken
from compat_auth.store.database import Database
from compat_auth.store.schema import NAME_LENGTH, role_accounts

_TABLE = role_accounts
# Built once: to build them at each request costs more than to run them.
_OWNERS = select(_TABLE.c.owner_group).where(_TABLE.c.username == bindparam("username", type_=String()))
_ALL = select(_TABLE).order_by(_TABLE.c.username)
# No colon: it separates name and password in HTTP Basic.
_NAME = re.compile(r"[^\s:#\x00-\x1f\x7f][^:\x00-\x1f\x7f]*(?<!\s)\Z")


@dataclass(frozen=True, slots=True)
class RoleAccount:
    """A role account.

    Attributes:
        username: Its name, also in the upstream.
        owners: Who manages its tokens, as a requirement: `group:NAME` or `role:NAME`.
        created: When it was created, in seconds since the epoch.
    """

    username: str
    owners: str
    created: int


class RoleAccountRows:
    """The role accounts in the database. Any thread may use it; every method may raise BackendUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, account: RoleAccount) -> None:
        """Store a new role account.

        Raises:
            InvalidValue: The name cannot be a user's.
            NameTaken: A role account of that name exists.
        """
        if not _NAME.match(account.username) or len(account.username) > NAME_LENGTH:
            raise InvalidValue(
                f"{account.username!r}: not a user name; remove colons, a leading '#', and blanks around it"
            )
        values = {"username": account.username, "owner_group": account.owners, "created": account.created}
        with self._database.write() as connection:
            try:
                with connection.begin_nested():
                    connection.execute(insert(_TABLE).values(**values))
            except IntegrityError:
                raise NameTaken(f"{account.username!r} is a role account already") from None

    def owners_of(self, username: str) -> str | None:
        """Return who manages a role account's tokens, as a requirement; None where the name is no role account."""
        with self._database.read() as connection:
            return connection.scalar(_OWNERS, {"username": username})

    def list(self) -> tuple[RoleAccount, ...]:
        """Return all of them, by name."""
        if not self._database.is_there:
            return ()
        with self._database.read() as connection:
            found = connection.execute(_ALL)
            return tuple(RoleAccount(row.username, row.owner_group, row.created) for row in found)

    def delete(self, username: str) -> bool:
        """Delete a role account, and return whether there was one."""
        with self._database.write() as connection:
            return bool(connection.execute(delete(_TABLE).where(_TABLE.c.username == username)).rowcount)

"""Which user an issuer's subject was first linked to: a name that changes hands does not change users."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from compat_auth.errors import NoSuchUser
from compat_auth.store.database import Database
from compat_auth.store.schema import NAME_LENGTH, pinned_subjects


@dataclass(frozen=True, slots=True)
class Pin:
    """A link: whose account (`issuer`, `subject`) belongs to which user, and since when (seconds since the epoch)."""

    issuer: str
    subject: str
    username: str
    pinned: int


class PinnedSubjects:
    """The links in the database. Any thread may use it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, issuer: str, subject: str) -> str | None:
        """Return the user whom a subject is linked to, or None.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        table = pinned_subjects
        mine = select(table.c.username).where(table.c.issuer == issuer, table.c.subject == subject)
        with self._database.read() as connection:
            found: str | None = connection.scalar(mine)
        return found

    def of_user(self, username: str = "") -> list[Pin]:
        """Return the links of a user, or of all; by user, then issuer.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        table = pinned_subjects
        query = select(table).order_by(table.c.username, table.c.issuer)
        with self._database.read() as connection:
            rows = connection.execute(query.where(table.c.username == username) if username else query).all()
        return [Pin(row.issuer, row.subject, row.username, row.pinned) for row in rows]

    def remove(self, username: str, issuer: str = "") -> int:
        """Unlink a user, so that the next subject to come in as that user is linked; return how many links there were.

        Args:
            username: The user.
            issuer: Of which issuer; "" for every.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        table = pinned_subjects
        query = delete(table).where(table.c.username == username)
        with self._database.write() as connection:
            return connection.execute(query.where(table.c.issuer == issuer) if issuer else query).rowcount

    def pin(self, issuer: str, subject: str, username: str, *, now: int) -> None:
        """Link a subject to a user at first sight, and hold it to that user ever after.

        Args:
            issuer: Who vouches, such as the `iss` of a token.
            subject: What the issuer calls the user, never used again for another.
            username: The user as the upstream knows it.
            now: Seconds since the epoch.

        Raises:
            NoSuchUser: The subject is another user's, or the user another subject's.
            BackendUnavailable: The database could not be asked.
        """
        if any(not name or len(name) > NAME_LENGTH or "\0" in name for name in (issuer, subject, username)):
            raise NoSuchUser(f"{issuer}: a subject or user name that cannot be linked")
        table = pinned_subjects
        mine = select(table.c.username).where(table.c.issuer == issuer, table.c.subject == subject)
        with self._database.read() as connection:
            found = connection.scalar(mine)
        if found is None:
            with self._database.write() as connection:
                try:
                    with connection.begin_nested():
                        connection.execute(
                            insert(table).values(issuer=issuer, subject=subject, username=username, pinned=now)
                        )
                except IntegrityError:
                    # Another process was first, or the user has another subject: what is stored decides.
                    found = connection.scalar(mine)
                else:
                    found = username
        if found != username:
            raise NoSuchUser(
                f"{username!r}: {issuer} vouches for another account than the one linked at first; "
                "see: compat-auth users pins"
            )

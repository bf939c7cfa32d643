"""The table of account links: the user to whom an issuer's subject was linked at first use, and stays linked."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import String, bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError

from compat_auth.errors import NoSuchUser
from compat_auth.store.database import Database
from compat_auth.store.schema import NAME_LENGTH, pinned_subjects

# Built once: to build it at each request costs more than to run it.
_FIND = select(pinned_subjects.c.username).where(
    pinned_subjects.c.issuer == bindparam("issuer", type_=String()),
    pinned_subjects.c.subject == bindparam("subject", type_=String()),
)


@dataclass(frozen=True, slots=True)
class Pin:
    """A link from an account (`issuer`, `subject`) to a user, and since when (seconds since the epoch)."""

    issuer: str
    subject: str
    username: str
    pinned: int


class PinnedSubjects:
    """The account links in the database. Any thread may use it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, issuer: str, subject: str) -> str | None:
        """Return the user to whom a subject is linked, or None.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        with self._database.read() as connection:
            found: str | None = connection.scalar(_FIND, {"issuer": issuer, "subject": subject})
        return found

    def of_user(self, username: str = "") -> list[Pin]:
        """Return the links of a user, or of all users; by user, then issuer.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        table = pinned_subjects
        query = select(table).order_by(table.c.username, table.c.issuer)
        with self._database.read() as connection:
            rows = connection.execute(query.where(table.c.username == username) if username else query).all()
        return [Pin(row.issuer, row.subject, row.username, row.pinned) for row in rows]

    def remove(self, username: str, issuer: str = "") -> int:
        """Remove links of a user, so that the user's next login creates a new one; return how many there were.

        Args:
            username: The user.
            issuer: Only links of this issuer; "" for all.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        table = pinned_subjects
        query = delete(table).where(table.c.username == username)
        with self._database.write() as connection:
            return connection.execute(query.where(table.c.issuer == issuer) if issuer else query).rowcount

    def pin(self, issuer: str, subject: str, username: str, *, now: int) -> None:
        """Link a subject to a user at first use; from then on the subject belongs to that user only.

        Args:
            issuer: The issuer, such as `iss` of a token.
            subject: The issuer's id for the user, never reused for another user.
            username: The user name in the upstream.
            now: Seconds since the epoch.

        Raises:
            NoSuchUser: The subject is linked to another user, or the user to another subject.
            BackendUnavailable: The database could not be asked.
        """
        if any(not name or len(name) > NAME_LENGTH or "\0" in name for name in (issuer, subject, username)):
            raise NoSuchUser(f"{issuer}: a subject or user name that cannot be linked")
        table = pinned_subjects
        mine = {"issuer": issuer, "subject": subject}
        with self._database.read() as connection:
            found = connection.scalar(_FIND, mine)
        if found is None:
            with self._database.write() as connection:
                try:
                    with connection.begin_nested():
                        connection.execute(
                            insert(table).values(issuer=issuer, subject=subject, username=username, pinned=now)
                        )
                except IntegrityError:
                    # Another process was first, or the user has another subject: the stored link decides.
                    found = connection.scalar(_FIND, mine)
                else:
                    found = username
        if found != username:
            raise NoSuchUser(
                f"{username!r}: {issuer} sent an account that is not the one linked at first use; "
                "see: compat-auth users pins"
            )

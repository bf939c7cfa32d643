"""The tables, as the newest migration leaves them.

Moments are whole seconds since the epoch. No secret is stored: a session's id only as its SHA-256 digest.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, LargeBinary, MetaData, String, Table

# A user name as FAB's tables allow it.
NAME_LENGTH = 512

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

sessions = Table(
    "compat_auth_sessions",
    metadata,
    Column("id_digest", LargeBinary(32), primary_key=True),
    Column("username", String(NAME_LENGTH), CheckConstraint("username <> ''", name="username"), nullable=False),
    Column("directory", String(NAME_LENGTH), nullable=False),
    Column("backend", String(NAME_LENGTH), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("ended", BigInteger, nullable=True),
    Index(None, "username"),
    Index(None, "last_seen"),
)

revocations = Table(
    "compat_auth_revocations",
    metadata,
    Column("username", String(NAME_LENGTH), CheckConstraint("username <> ''", name="username"), primary_key=True),
    Column("not_before", BigInteger, nullable=False),
)

pinned_subjects = Table(
    "compat_auth_pinned_subjects",
    metadata,
    Column("issuer", String(NAME_LENGTH), CheckConstraint("issuer <> ''", name="issuer"), primary_key=True),
    Column("subject", String(NAME_LENGTH), CheckConstraint("subject <> ''", name="subject"), primary_key=True),
    Column("username", String(NAME_LENGTH), CheckConstraint("username <> ''", name="username"), nullable=False),
    Column("pinned", BigInteger, nullable=False),
    Index(None, "issuer", "username", unique=True),
)

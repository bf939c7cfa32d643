"""The tables, as the newest migration creates them.

Times are whole seconds since the epoch. No secret is stored: a session's id only as its SHA-256 digest, a personal
token only as an HMAC whose key is not in the database.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

# The longest user name in FAB's tables.
NAME_LENGTH = 512

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
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

TOKEN_NAME_LENGTH = 64
ADDRESS_LENGTH = 64
AGENT_LENGTH = 256
_ALIVE = text("revoked IS NULL")

personal_tokens = Table(
    "compat_auth_personal_tokens",
    metadata,
    Column("id", String(12), primary_key=True),
    # Identifies the owner: a user with that name elsewhere, or a later one, is another person.
    Column("username", String(NAME_LENGTH), CheckConstraint("username <> ''", name="username"), nullable=False),
    Column("directory", String(NAME_LENGTH), nullable=False),
    Column("upstream_id", String(NAME_LENGTH), nullable=False),
    Column("name", String(TOKEN_NAME_LENGTH), CheckConstraint("name <> ''", name="name"), nullable=False),
    # JSON: the list of scopes, or an object that has this list and the certificate to which the token is bound.
    Column("scopes", Text, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("pepper_id", String(16), nullable=False),
    # After a refresh with an overlap: the previous secret, and until when it still works.
    Column("old_digest", LargeBinary(32), nullable=True),
    Column("old_pepper_id", String(16), nullable=True),
    Column("old_until", BigInteger, nullable=True),
    Column("created", BigInteger, nullable=False),
    Column("created_by", String(NAME_LENGTH), nullable=False),
    Column("refreshed", BigInteger, nullable=True),
    Column("expires", BigInteger, nullable=False),
    Column("revoked", BigInteger, nullable=True),
    Column("reason", String(64), nullable=False),
    Column("owner_missing", BigInteger, nullable=True),
    Column("last_used", BigInteger, nullable=True),
    Column("last_address", String(ADDRESS_LENGTH), nullable=False),
    Column("last_agent", String(AGENT_LENGTH), nullable=False),
    # The last expiry notice that was sent (in days), and until when a process holds the lease on the next one.
    Column("noticed_days", Integer, nullable=True),
    Column("notice_lease", BigInteger, nullable=False),
    Index(
        "ix_compat_auth_personal_tokens_username_name",
        "username",
        "name",
        unique=True,
        sqlite_where=_ALIVE,
        postgresql_where=_ALIVE,
    ),
    Index(None, "username"),
    Index(None, "expires"),
)

personal_token_uses = Table(
    "compat_auth_personal_token_uses",
    metadata,
    Column("token_id", String(12), ForeignKey("compat_auth_personal_tokens.id", ondelete="CASCADE"), primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("uses", BigInteger, nullable=False),
)

role_accounts = Table(
    "compat_auth_role_accounts",
    metadata,
    Column("username", String(NAME_LENGTH), CheckConstraint("username <> ''", name="username"), primary_key=True),
    Column("owner_group", String(NAME_LENGTH), CheckConstraint("owner_group <> ''", name="group"), nullable=False),
    Column("created", BigInteger, nullable=False),
)

JTI_LENGTH = 256

issued_tokens = Table(
    "compat_auth_issued_tokens",
    metadata,
    Column("jti", String(JTI_LENGTH), CheckConstraint("jti <> ''", name="jti"), primary_key=True),
    # Digest of the whole token: recognizes one that the upstream has signed.
    Column("digest", LargeBinary(32), nullable=False),
    Column("username", String(NAME_LENGTH), CheckConstraint("username <> ''", name="username"), nullable=False),
    Column("subject", String(NAME_LENGTH), nullable=False),
    Column("credential_id", String(NAME_LENGTH), nullable=False),
    Column("issued", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    # The backends that accepted the credential, separated by blanks; null: stored by a version that did not know.
    Column("backend", String(NAME_LENGTH), nullable=True),
    Index(None, "username"),
    Index(None, "credential_id"),
    Index(None, "expires"),
)

denylist = Table(
    "compat_auth_denials",
    metadata,
    # "jti": one token; "sub": a user's tokens issued up to a time; "digest": one token without jti, by its signed part.
    Column("kind", String(8), CheckConstraint("kind in ('jti', 'sub', 'digest')", name="kind"), primary_key=True),
    Column("key", String(NAME_LENGTH), CheckConstraint("key <> ''", name="key"), primary_key=True),
    Column("not_before", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Index(None, "expires"),
    Index(None, "version"),
)

# A single row. A writer increments it first, so versions commit in order and no reader misses one.
denylist_version = Table(
    "compat_auth_denial_version",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
)

# Sums by day (days since the epoch, UTC): no request has a row of its own. The day comes first: PostgreSQL parts the table
# by month, and SQLite keeps its rows in this order.
usage = Table(
    "compat_auth_usage",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("principal", String(NAME_LENGTH), primary_key=True),
    Column("backend", String(64), primary_key=True),
    Column("client", String(32), primary_key=True),
    Column("network", String(ADDRESS_LENGTH), primary_key=True),
    Column("operation", String(256), primary_key=True),
    Column(
        "outcome", String(8), CheckConstraint("outcome in ('granted', 'refused')", name="outcome"), primary_key=True
    ),
    Column("count", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("first_seen", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Index(None, "principal", "day"),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (day)",
)

BACKEND_LENGTH = 128

stage_rules = Table(
    "compat_auth_stages",
    metadata,
    # "": any.
    Column("backend", String(BACKEND_LENGTH), primary_key=True),
    Column("operation", String(NAME_LENGTH), primary_key=True),
    Column("principal", String(NAME_LENGTH), primary_key=True),
    Column("stage", String(16), CheckConstraint("stage <> ''", name="stage"), nullable=False),
    Column("until", BigInteger, nullable=True),
    Column("deprecated", BigInteger, nullable=True),
    Column("sunset", BigInteger, nullable=True),
    # JSON: a list of [start, length, period] in seconds.
    Column("windows", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("per_minute", Integer, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("changed_by", String(NAME_LENGTH), nullable=False),
    # A random number for each change: by count and sum of them a reader knows whether anything has changed.
    Column("mark", BigInteger, nullable=False),
)

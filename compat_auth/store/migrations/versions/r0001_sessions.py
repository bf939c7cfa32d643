"""Sessions, revocations and account links."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "compat_auth_sessions",
        sa.Column("id_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("username", sa.String(512), nullable=False),
        sa.Column("directory", sa.String(512), nullable=False),
        sa.Column("backend", sa.String(512), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id_digest", name="pk_compat_auth_sessions"),
        sa.CheckConstraint("username <> ''", name="ck_compat_auth_sessions_username"),
    )
    op.create_index("ix_compat_auth_sessions_username", "compat_auth_sessions", ["username"])
    op.create_index("ix_compat_auth_sessions_last_seen", "compat_auth_sessions", ["last_seen"])
    op.create_table(
        "compat_auth_revocations",
        sa.Column("username", sa.String(512), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("username", name="pk_compat_auth_revocations"),
        sa.CheckConstraint("username <> ''", name="ck_compat_auth_revocations_username"),
    )
    op.create_table(
        "compat_auth_pinned_subjects",
        sa.Column("issuer", sa.String(512), nullable=False),
        sa.Column("subject", sa.String(512), nullable=False),
        sa.Column("username", sa.String(512), nullable=False),
        sa.Column("pinned", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "subject", name="pk_compat_auth_pinned_subjects"),
        sa.CheckConstraint("issuer <> ''", name="ck_compat_auth_pinned_subjects_issuer"),
        sa.CheckConstraint("subject <> ''", name="ck_compat_auth_pinned_subjects_subject"),
        sa.CheckConstraint("username <> ''", name="ck_compat_auth_pinned_subjects_username"),
    )
    op.create_index(
        "ix_compat_auth_pinned_subjects_issuer", "compat_auth_pinned_subjects", ["issuer", "username"], unique=True
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("compat_auth_pinned_subjects", "compat_auth_revocations", "compat_auth_sessions"):
        op.drop_table(table)

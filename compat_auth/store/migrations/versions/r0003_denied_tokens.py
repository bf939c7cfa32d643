"""Issued tokens and the denylist."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "compat_auth_issued_tokens",
        sa.Column("jti", sa.String(256), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("username", sa.String(512), nullable=False),
        sa.Column("subject", sa.String(512), nullable=False),
        sa.Column("credential_id", sa.String(512), nullable=False),
        sa.Column("issued", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("jti", name="pk_compat_auth_issued_tokens"),
        sa.CheckConstraint("jti <> ''", name="ck_compat_auth_issued_tokens_jti"),
        sa.CheckConstraint("username <> ''", name="ck_compat_auth_issued_tokens_username"),
    )
    for column in ("username", "credential_id", "expires"):
        op.create_index(f"ix_compat_auth_issued_tokens_{column}", "compat_auth_issued_tokens", [column])
    op.create_table(
        "compat_auth_denials",
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("key", sa.String(512), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name="pk_compat_auth_denials"),
        sa.CheckConstraint("kind in ('jti', 'sub', 'digest')", name="ck_compat_auth_denials_kind"),
        sa.CheckConstraint("key <> ''", name="ck_compat_auth_denials_key"),
    )
    for column in ("expires", "version"):
        op.create_index(f"ix_compat_auth_denials_{column}", "compat_auth_denials", [column])
    version = op.create_table(
        "compat_auth_denial_version",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_compat_auth_denial_version"),
    )
    op.bulk_insert(version, [{"id": 1, "version": 0}])


def downgrade() -> None:
    """Drop them."""
    for table in ("compat_auth_denial_version", "compat_auth_denials", "compat_auth_issued_tokens"):
        op.drop_table(table)

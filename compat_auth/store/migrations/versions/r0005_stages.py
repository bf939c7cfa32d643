"""Stages of logins, and the backends that issued tokens were made by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_from_0003"
down_revision = "0004_from_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and add the column."""
    op.create_table(
        "compat_auth_stages",
        sa.Column("backend", sa.String(128), nullable=False),
        sa.Column("operation", sa.String(512), nullable=False),
        sa.Column("principal", sa.String(512), nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("deprecated", sa.BigInteger(), nullable=True),
        sa.Column("sunset", sa.BigInteger(), nullable=True),
        sa.Column("windows", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("per_minute", sa.Integer(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.String(512), nullable=False),
        sa.Column("mark", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("backend", "operation", "principal", name="pk_compat_auth_stages"),
        sa.CheckConstraint("stage <> ''", name="ck_compat_auth_stages_stage"),
    )
    op.add_column("compat_auth_issued_tokens", sa.Column("backend", sa.String(512), nullable=True))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("compat_auth_issued_tokens", "backend")
    op.drop_table("compat_auth_stages")

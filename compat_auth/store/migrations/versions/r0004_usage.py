"""Usage by day, principal, backend, client, network and operation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_from_0003"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; on PostgreSQL the writer makes the partitions."""
    op.create_table(
        "compat_auth_usage",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("principal", sa.String(512), nullable=False),
        sa.Column("backend", sa.String(64), nullable=False),
        sa.Column("client", sa.String(32), nullable=False),
        sa.Column("network", sa.String(64), nullable=False),
        sa.Column("operation", sa.String(256), nullable=False),
        sa.Column("outcome", sa.String(8), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day", "principal", "backend", "client", "network", "operation", "outcome", name="pk_compat_auth_usage"
        ),
        sa.CheckConstraint("outcome in ('granted', 'refused')", name="ck_compat_auth_usage_outcome"),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (day)",
    )
    op.create_index("ix_compat_auth_usage_principal", "compat_auth_usage", ["principal", "day"])


def downgrade() -> None:
    """Drop it, with its partitions."""
    op.drop_table("compat_auth_usage")

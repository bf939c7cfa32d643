"""Personal tokens, their usage, and role accounts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TOKENS = "compat_auth_personal_tokens"
_USES = "compat_auth_personal_token_uses"
_ROLES = "compat_auth_role_accounts"


def upgrade() -> None:
    """Create their tables."""
    op.create_table(
        _TOKENS,
        sa.Column("id", sa.String(12), nullable=False),
        sa.Column("username", sa.String(512), nullable=False),
        sa.Column("directory", sa.String(512), nullable=False),
        sa.Column("upstream_id", sa.String(512), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("pepper_id", sa.String(16), nullable=False),
        sa.Column("old_digest", sa.LargeBinary(32), nullable=True),
        sa.Column("old_pepper_id", sa.String(16), nullable=True),
        sa.Column("old_until", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(512), nullable=False),
        sa.Column("refreshed", sa.BigInteger(), nullable=True),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("revoked", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("owner_missing", sa.BigInteger(), nullable=True),
        sa.Column("last_used", sa.BigInteger(), nullable=True),
        sa.Column("last_address", sa.String(64), nullable=False),
        sa.Column("last_agent", sa.String(256), nullable=False),
        sa.Column("noticed_days", sa.Integer(), nullable=True),
        sa.Column("notice_lease", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{_TOKENS}"),
        sa.CheckConstraint("username <> ''", name=f"ck_{_TOKENS}_username"),
        sa.CheckConstraint("name <> ''", name=f"ck_{_TOKENS}_name"),
    )
    alive = sa.text("revoked IS NULL")
    op.create_index(
        f"ix_{_TOKENS}_username_name",
        _TOKENS,
        ["username", "name"],
        unique=True,
        sqlite_where=alive,
        postgresql_where=alive,
    )
    op.create_index(f"ix_{_TOKENS}_username", _TOKENS, ["username"])
    op.create_index(f"ix_{_TOKENS}_expires", _TOKENS, ["expires"])
    op.create_table(
        _USES,
        sa.Column("token_id", sa.String(12), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("uses", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_id", "day", name=f"pk_{_USES}"),
        sa.ForeignKeyConstraint(["token_id"], [f"{_TOKENS}.id"], name=f"fk_{_USES}_token_id", ondelete="CASCADE"),
    )
    op.create_table(
        _ROLES,
        sa.Column("username", sa.String(512), nullable=False),
        sa.Column("owner_group", sa.String(512), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("username", name=f"pk_{_ROLES}"),
        sa.CheckConstraint("username <> ''", name=f"ck_{_ROLES}_username"),
        sa.CheckConstraint("owner_group <> ''", name=f"ck_{_ROLES}_group"),
    )


def downgrade() -> None:
    """Drop them."""
    for table in (_USES, _ROLES, _TOKENS):
        op.drop_table(table)

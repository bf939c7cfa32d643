"""Alembic runs this module; `compat_auth.store.migration` supplies the connection, its transaction and its lock."""

from __future__ import annotations

from alembic import context

from compat_auth.store.migration import VERSION_TABLE
from compat_auth.store.schema import metadata

# A plain import of this module runs no migration.
if hasattr(context, "config"):
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
    )
    with context.begin_transaction():
        context.run_migrations()

"""Run by Alembic: the connection, with its transaction and lock, comes from `compat_auth.store.migration`."""

from __future__ import annotations

from alembic import context

from compat_auth.store.migration import VERSION_TABLE
from compat_auth.store.schema import metadata

# Whoever merely imports this module has no migration under way.
if hasattr(context, "config"):
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
    )
    with context.begin_transaction():
        context.run_migrations()

"""Alembic's environment, and the migrations: one module each."""

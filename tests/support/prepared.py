"""What fast tests prepare once instead of once for each test: the store's tables, the entry points, compiled pages."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any, cast

import flask
import jinja2
import pytest
from alembic import command
from alembic.config import Config
from jinja2.bccache import Bucket
from sqlalchemy import Connection, create_engine, inspect

from compat_auth.authn import registry
from compat_auth.authn.users import directories
from compat_auth.store import migration

_upgrade = command.upgrade


@pytest.fixture(scope="module", autouse=True)
def prepared() -> Iterator[None]:
    """Use what is prepared already, for the tests of one module."""
    found = functools.cache(entry_points)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "entry_points", found)
        patch.setattr(directories, "entry_points", found)
        patch.setattr(command, "upgrade", _upgrade_from_copy)
        patch.setattr(flask.Flask, "jinja_options", {"bytecode_cache": _PAGES})
        yield


class _Pages(jinja2.BytecodeCache):
    """Compiled templates, by what they were made of."""

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], Any] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key, bucket.checksum] = bucket.code


_PAGES = _Pages()


def _upgrade_from_copy(config: Config, revision: str) -> None:
    connection = cast("Connection", config.attributes["connection"])
    if connection.dialect.name != "sqlite" or revision != "head" or inspect(connection).get_table_names():
        _upgrade(config, revision)
        return
    for statement in _statements():
        connection.exec_driver_sql(statement)


@functools.cache
def _statements() -> tuple[str, ...]:
    """Return what makes the tables as the migrations make them, row of the revision included."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        _upgrade(migration._config(connection), "head")  # pyright: ignore[reportPrivateUsage]
        raw = cast("sqlite3.Connection", connection.connection.driver_connection)
        dump = tuple(raw.iterdump())
    engine.dispose()
    return tuple(statement for statement in dump if statement not in ("BEGIN TRANSACTION;", "COMMIT;"))

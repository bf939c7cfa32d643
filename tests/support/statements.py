"""Forbids SQL statements that are built while a request waits."""

from __future__ import annotations

from typing import NoReturn

import pytest
from sqlalchemy import Delete, Insert, Select, Update
from sqlalchemy.sql.functions import FunctionElement


def forbid_new_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the program fail that builds a statement from now on, instead of running one that was built before."""

    def fail(*_args: object, **_named: object) -> NoReturn:
        raise AssertionError("a statement was built while a request waits for it")

    for kind in (Select, Insert, Update, Delete, FunctionElement):
        monkeypatch.setattr(kind, "__init__", fail)
    for kind in (Select, Update, Delete):
        monkeypatch.setattr(kind, "where", fail)

"""Airflow's own user tables as a directory, on SQLite; PostgreSQL is a peer test."""

# A unit test may look inside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import os

import pytest

from support.airflow_tables import ADMIN, Make


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")  # forking is what is tested
def test_a_forked_child_connects_by_itself(make: Make) -> None:
    directory = make(ADMIN)
    directory.find("admin")
    parents = directory._engine

    child = os.fork()
    if child == 0:
        os._exit(0 if directory.find("admin") is not None and directory._engine is not parents else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert directory._engine is parents

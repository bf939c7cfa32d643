"""The peers as fixtures: one of each for a whole run, started by the first test that asks."""

from collections.abc import Iterator

import pytest

from peers import seed
from peers.airflows import Airflow2, Airflow3


@pytest.fixture(scope="session")
def airflow_fab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow3]:
    """Airflow 3.3 with FabAuthManager; users admin, viewer, disabled, mixed, jürgen."""
    airflow = Airflow3(seed.FAB, tmp_path_factory.mktemp("airflow_fab"))
    airflow.start()
    yield airflow
    airflow.stop()


@pytest.fixture(scope="session")
def airflow_simple(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow3]:
    """Airflow 3.3 with SimpleAuthManager; users admin, viewer, user, op, each with its name as password."""
    airflow = Airflow3(seed.SIMPLE, tmp_path_factory.mktemp("airflow_simple"))
    airflow.start()
    yield airflow
    airflow.stop()


@pytest.fixture(scope="session")
def airflow2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow2]:
    """Airflow 2.11, the reference for behaviour; the same users as `airflow_fab`."""
    airflow = Airflow2(seed.AIRFLOW2, tmp_path_factory.mktemp("airflow2"))
    airflow.start()
    yield airflow
    airflow.stop()

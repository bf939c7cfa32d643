"""`/api/v1` of a live Airflow 2.11: what it is asked, so that nothing of it is left out of a comparison."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest

from support.peers.airflows import Airflow2
from support.peers.gateway import call
from support.peers.v1_pairs import FAMILIES
from support.peers.v1_sides import airflow2_with_runs, operation_of

pytestmark = pytest.mark.peer

PAIRS = tuple(chain.from_iterable(FAMILIES.values()))


@pytest.fixture(scope="module")
def airflow2_v1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow2]:
    airflow = airflow2_with_runs(tmp_path_factory.mktemp("airflow2_v1"))
    airflow.start()
    yield airflow
    airflow.stop()


def operations(airflow: Airflow2) -> set[tuple[str, str]]:
    document: dict[str, Any] = call("GET", f"{airflow.url}/api/v1/openapi.json", auth=("admin", "admin")).json()
    methods = {"get", "post", "put", "patch", "delete"}
    return {(method.upper(), path) for path, item in document["paths"].items() for method in methods & item.keys()}


def test_every_operation_of_airflow_2_is_among_the_pairs(airflow2_v1: Airflow2) -> None:
    known = operations(airflow2_v1)

    asked = {operation_of(pair, known) for pair in PAIRS}

    assert len(known) == 89
    assert known - asked == set()

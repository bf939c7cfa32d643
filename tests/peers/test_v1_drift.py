"""Fields of both versions, as live servers describe them: none is forgotten, and none is made up."""

from typing import Any

import pytest

from compat_auth.airflow.v1.catalog import OPERATIONS
from compat_auth.airflow.v1.mappers import dags, datasets, records, runs, stored
from compat_auth.airflow.v1.mappers.mapper import Mapper
from compat_auth.airflow.v1.openapi import document
from support.peers.airflows import Airflow2, Airflow3
from support.peers.gateway import call

pytestmark = pytest.mark.peer

MAPPERS = (dags, datasets, records, runs, stored)

# A mapper, the schema of 3.x that it reads, and the schema of 2.x that it writes.
OBJECTS = [
    ("DAG", "DAGResponse", "DAG"),
    ("DAG_DETAILS", "DAGDetailsResponse", "DAGDetail"),
    ("DAG_RUN", "DAGRunResponse", "DAGRun"),
    ("TASK_INSTANCE", "TaskInstanceResponse", "TaskInstance"),
    ("TRY", "TaskInstanceHistoryResponse", "TaskInstanceHistory"),
    ("TRIGGER", "TriggerResponse", "Trigger"),
    ("JOB", "JobResponse", "Job"),
    ("TASK", "TaskResponse", "Task"),
    ("XCOM", "XComResponse", "XComCollectionItem"),
    ("XCOM_VALUE", "XComResponseNative", "XCom"),
    ("CONNECTION", "ConnectionResponse", "Connection"),
    ("CONNECTION_LISTED", "ConnectionResponse", "ConnectionCollectionItem"),
    ("VARIABLE", "VariableResponse", "Variable"),
    ("POOL", "PoolResponse", "Pool"),
    ("DATASET", "AssetResponse", "Dataset"),
    ("DATASET_EVENT", "AssetEventResponse", "DatasetEvent"),
    ("QUEUED_EVENT", "QueuedEventResponse", "QueuedEvent"),
    ("EVENT_LOG", "EventLogResponse", "EventLog"),
    ("IMPORT_ERROR", "ImportErrorResponse", "ImportError"),
    ("DAG_WARNING", "DAGWarningResponse", "DagWarning"),
    ("PROVIDER", "ProviderResponse", "Provider"),
    ("PLUGIN", "PluginResponse", "PluginCollectionItem"),
    ("VERSION", "VersionInfo", "VersionInfo"),
]
# Where 2.11's description says other than 2.11 answers: what it answers counts.
NEVER_ANSWERED = {
    "Connection": {"password"},
    "DAGDetail": {"template_search_path"},
    "Task": {"executor", "sub_dag"},
}
NOT_DESCRIBED = {
    "DAGDetail": {"template_searchpath"},
    "Dataset": {"aliases"},
    "DatasetEvent": {"id"},
    "Task": {"params", "operator_name"},
}


def fields(document: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    """Return the fields of a schema, with those of what it is made of."""
    if "$ref" in schema:
        return fields(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    found = set(schema.get("properties", {}))
    for part in schema.get("allOf", []):
        found |= fields(document, part)
    return found


@pytest.fixture(scope="module")
def new(airflow_fab: Airflow3) -> dict[str, Any]:
    document: dict[str, Any] = call("GET", f"{airflow_fab.url}/openapi.json").json()
    return document


@pytest.fixture(scope="module")
def old(airflow2: Airflow2) -> dict[str, Any]:
    document: dict[str, Any] = call("GET", f"{airflow2.url}/api/v1/openapi.json").json()
    return document


def mapper_of(name: str) -> Mapper:
    """Return a mapper by its name, whatever it is kept with."""
    found: Mapper = next(getattr(module, name) for module in MAPPERS if hasattr(module, name))
    return found


@pytest.mark.parametrize(("name", "schema", "_old"), OBJECTS)
def test_every_field_of_3_x_is_mapped_or_dropped_by_name(
    new: dict[str, Any], name: str, schema: str, _old: str
) -> None:
    mapper = mapper_of(name)

    described = fields(new, new["components"]["schemas"][schema])

    assert described - mapper.known == set()


@pytest.mark.parametrize(("name", "_new", "schema"), OBJECTS)
def test_every_field_of_2_x_is_made(old: dict[str, Any], name: str, _new: str, schema: str) -> None:
    mapper = mapper_of(name)

    described = fields(old, old["components"]["schemas"][schema]) - NEVER_ANSWERED.get(schema, set())

    assert described - mapper.fields == set()
    assert mapper.fields - described == NOT_DESCRIBED.get(schema, set())


def test_operations_stand_in_the_groups_of_2_x(old: dict[str, Any]) -> None:
    ours = document(OPERATIONS, "1")

    assert _groups(ours) == _groups(old)


def _groups(description: dict[str, Any]) -> dict[str, list[str]]:
    """Return the groups of each operation, by its name: clients that are generated have a class for each."""
    return {
        operation["operationId"]: operation["tags"]
        for item in description["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    }


def test_successes_have_the_statuses_and_media_types_of_2_x(old: dict[str, Any]) -> None:
    ours = document(OPERATIONS, "1")

    assert _successes(ours) == _successes(old)


def _successes(description: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    return {
        operation["operationId"]: {
            status: sorted(answer.get("content", {}))
            for status, answer in operation["responses"].items()
            if status.startswith("2")
        }
        for item in description["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    }

"""The description of `/api/v1` is made from what is translated, and nothing else."""

import json
from typing import Any

from compat_auth.airflow.v1.catalog import OPERATIONS
from compat_auth.airflow.v1.openapi import as_bytes, document, page

DESCRIBED: dict[str, Any] = json.loads(as_bytes(document(OPERATIONS, "1")))


def test_every_operation_is_described_once() -> None:
    described = [
        (method.upper(), path, operation["operationId"])
        for path, methods in DESCRIBED["paths"].items()
        for method, operation in methods.items()
    ]

    assert sorted(described) == sorted((one.method, one.path, one.name) for one in OPERATIONS)


def test_parameters_bodies_and_answers_are_those_of_the_record() -> None:
    runs = DESCRIBED["paths"]["/dags/{dag_id}/dagRuns"]

    names = {parameter["name"] for parameter in runs["get"]["parameters"]}
    body = runs["post"]["requestBody"]["content"]["application/json"]["schema"]
    answer = runs["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert {"dag_id", "limit", "execution_date_gte", "fields"} <= names
    assert body["properties"]["state"]["readOnly"] is True
    assert "execution_date" in answer["properties"]["dag_runs"]["items"]["properties"]


def test_a_public_operation_asks_for_no_credential() -> None:
    assert DESCRIBED["paths"]["/health"]["get"]["security"] == []
    assert DESCRIBED["paths"]["/pools"]["get"]["security"] == [{"Basic": []}]


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    shown = page(OPERATIONS).decode()

    assert "<script" not in shown
    assert "http" not in shown.replace("https://", "http")
    assert all(operation.name in shown for operation in OPERATIONS)

"""The description of `/api/v1` is made from what is translated, and what 2.11 answered fits it."""

import json
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import validate

from compat_auth.airflow.v1.catalog import OPERATIONS, ROUTER
from compat_auth.airflow.v1.openapi import as_bytes, document

DESCRIBED: dict[str, Any] = json.loads(as_bytes(document(OPERATIONS, "1")))
RECORDED: list[dict[str, Any]] = [
    entry
    for entry in json.loads(Path(__file__).with_name("recorded.json").read_text(encoding="utf-8"))
    if entry["old"]["status"] < 300 and entry["old"]["body"] and not entry["request"].startswith("HEAD")
]


def closed(schema: Any) -> Any:
    """Return a schema that takes no field that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(part) for name, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        made["additionalProperties"] = False
    return made


CLOSED = {**closed(DESCRIBED["components"]), "paths": {}}


def answer_of(entry: dict[str, Any]) -> dict[str, Any]:
    method, _, target = entry["request"].partition(" ")
    operation, _ = ROUTER.find(method, target.partition("?")[0].removeprefix("/api/v1"))
    described = DESCRIBED["paths"][operation.path][operation.method.lower()]
    content: dict[str, Any] = described["responses"][str(entry["old"]["status"])]["content"]
    return content


def complaints(schema: Any, value: object) -> list[str]:
    whole = {**closed(schema), "components": CLOSED}
    return [f"{list(error.path)}: {error.message[:200]}" for error in OAS30Validator(whole).iter_errors(value)]


def test_it_is_an_openapi_document() -> None:
    validate(DESCRIBED)


def test_every_operation_is_described_once() -> None:
    described = [
        (method.upper(), path, operation["operationId"])
        for path, methods in DESCRIBED["paths"].items()
        for method, operation in methods.items()
    ]

    assert sorted(described) == sorted((one.method, one.path, one.name) for one in OPERATIONS)


def test_every_operation_that_answers_something_says_what() -> None:
    nameless = [
        operation.name
        for operation in OPERATIONS
        if {"204", "201"}.isdisjoint(found := DESCRIBED["paths"][operation.path][operation.method.lower()]["responses"])
        and not all(media["schema"] for media in found["200"]["content"].values())
    ]

    assert nameless == []


@pytest.mark.parametrize("entry", RECORDED, ids=lambda entry: entry["request"])
def test_what_2_11_answered_is_what_is_described(entry: dict[str, Any]) -> None:
    content = answer_of(entry)

    body, kind = entry["old"]["body"], entry["old"]["type"]
    value = json.loads(body) if kind == "application/json" else body
    assert complaints(content[kind]["schema"], value) == []


def test_a_field_that_is_not_described_would_be_found() -> None:
    schema = {"$ref": "#/components/schemas/DAGRun"}

    assert complaints(schema, {"dag_id": "d", "state": "running"}) == []
    assert complaints(schema, {"dag_id": "d", "new": 1}) != []
    assert complaints(schema, {"dag_id": 1}) != []
    assert complaints(schema, {"state": "of another kind"}) != []


def test_parameters_bodies_and_answers_are_those_of_the_record() -> None:
    runs = DESCRIBED["paths"]["/dags/{dag_id}/dagRuns"]

    names = {parameter["name"] for parameter in runs["get"]["parameters"]}
    body = runs["post"]["requestBody"]["content"]["application/json"]["schema"]
    answer = runs["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert {"dag_id", "limit", "execution_date_gte", "fields"} <= names
    assert body["properties"]["state"]["readOnly"] is True
    assert answer == {"$ref": "#/components/schemas/DAGRunCollection"}
    listed = DESCRIBED["components"]["schemas"]["DAGRunCollection"]["properties"]["dag_runs"]
    assert listed == {"type": "array", "items": {"$ref": "#/components/schemas/DAGRun"}}


def test_a_public_operation_asks_for_no_credential() -> None:
    assert DESCRIBED["paths"]["/health"]["get"]["security"] == []
    assert {"Basic": []} in DESCRIBED["paths"]["/pools"]["get"]["security"]


def test_requests_go_where_the_document_came_from() -> None:
    assert document(OPERATIONS, "1", "/airflow")["servers"] == [{"url": "/airflow/api/v1"}]

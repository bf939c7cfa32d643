"""Builds the OpenAPI 3.0 description of `/api/v1` from the records of its operations. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from compat_auth.airflow.v1.mappers.mapper import Mapper
from compat_auth.airflow.v1.messages import JSON, Json
from compat_auth.airflow.v1.operation import Collection, Operation
from compat_auth.airflow.v1.router import NUMBERS
from compat_auth.airflow.v1.validation.forms import Field, Form
from compat_auth.airflow.v1.validation.query import Kind, Parameter
from compat_auth.airflow.v1.validation.schemas import (
    ANSWERS,
    NESTED,
    PARTS,
    items_of,
    list_of,
    object_of,
    ref,
    schema_of,
)
from compat_auth.airflow_api.paths import V1
from compat_auth.http.problem import PROBLEM_JSON

_PLACE = re.compile(r"\{(\w+)\}")
_KINDS: dict[Kind, Json] = {
    Kind.LIST: {"type": "array", "items": {"type": "string"}},
    Kind.DATE: {"type": "string", "format": "date-time"},
    Kind.ORDER: {"type": "string"},
    Kind.LIMIT: {"type": "integer", "minimum": 0, "default": 100},
    Kind.OFFSET: {"type": "integer", "minimum": 0},
}
# The last of these segments in a path determines 2.11's tag of an operation: generated clients have a class for each
# tag.
_TAGS = {
    "config": ("Config",),
    "connections": ("Connection",),
    "dagRuns": ("DAGRun",),
    "dagSources": ("DAG",),
    "dagStats": ("DagStats",),
    "dagWarnings": ("DagWarning",),
    "dags": ("DAG",),
    "datasets": ("Dataset",),
    "eventLogs": ("EventLog",),
    "health": ("Monitoring",),
    "importErrors": ("ImportError",),
    "parseDagFile": ("DAG",),
    "permissions": ("Permission",),
    "plugins": ("Plugin",),
    "pools": ("Pool",),
    "providers": ("Provider",),
    "roles": ("Role",),
    "taskInstances": ("TaskInstance",),
    "upstreamDatasetEvents": ("DAGRun", "Dataset"),
    "users": ("User",),
    "variables": ("Variable",),
    "version": ("Monitoring",),
    "xcomEntries": ("XCom",),
}
_SECURITY: Json = {
    "Basic": {"type": "http", "scheme": "basic", "description": "User name and password."},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "A personal token, or a token of Airflow's."},
}

_PROBLEM: Json = {"description": "It is not done.", "content": {PROBLEM_JSON: {"schema": ref("Error")}}}


def document(operations: Iterable[Operation], version: str, root: str = "") -> Json:
    """Return the OpenAPI document.

    Args:
        operations: All operations.
        version: Our version.
        root: Path prefix of the server, without a slash at the end.
    """
    operations = tuple(operations)
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Airflow API (v1)",
            "version": version,
            "description": "Airflow 2's API, answered from Airflow 3's. New clients should use `/api/v2` itself: each "
            "operation here names its successor.",
        },
        "servers": [{"url": root + V1}],
        "tags": [{"name": name} for name in sorted({tag for tags in _TAGS.values() for tag in tags})],
        "paths": paths,
        "components": {"securitySchemes": _SECURITY, "schemas": _schemas(operations)},
    }


def as_bytes(described: Json) -> bytes:
    """Return the document as JSON, which is also YAML (YAML 1.2 section 1.3)."""
    return json.dumps(described, separators=(",", ":")).encode()


def _described(operation: Operation) -> Json:
    described: Json = {
        "operationId": operation.name,
        "summary": _sentence(operation.name),
        "description": f"Answered from `{operation.to}` of Airflow 3.",
        "tags": [*_tags(operation.path)],
        "parameters": [*_places(operation), *(_parameter(parameter) for parameter in operation.query)],
        "responses": {**_success(operation), "default": _PROBLEM},
        "security": [] if operation.public else [{name: []} for name in _SECURITY],
    }
    if operation.form is not None:
        required = not operation.form.may_be_missing
        described["requestBody"] = {"required": required, "content": {JSON: {"schema": _body(operation.form)}}}
    return described


def _sentence(name: str) -> str:
    words = name.replace("_", " ").replace("dag", "DAG").replace("xcom", "XCom")
    return words[0].upper() + words[1:]


def _tags(path: str) -> tuple[str, ...]:
    return [_TAGS[segment] for segment in path.split("/") if segment in _TAGS][-1]


def _places(operation: Operation) -> Iterator[Json]:
    for name in _PLACE.findall(operation.path):
        kind = "integer" if name in NUMBERS else "string"
        yield {"name": name, "in": "path", "required": True, "schema": {"type": kind}}


def _parameter(parameter: Parameter) -> Json:
    schema = _KINDS.get(parameter.kind, {"type": parameter.kind.value})
    described: Json = {"name": parameter.name, "in": "query", "required": parameter.required, "schema": schema}
    if parameter.kind is Kind.ORDER and parameter.values:
        names = ", ".join(parameter.values)
        described["description"] = f"One of {names}; a minus sign before it reverses the order."
    return described


def _body(form: Form) -> Json:
    body = object_of(**{name: _field(name, field) for name, field in form.fields.items()})
    required = sorted({*form.required, *form.described_as_required})
    return {**body, "additionalProperties": False, **({"required": required} if required else {})}


def _field(name: str, field: Field) -> Json:
    if field.read_only:
        return {"readOnly": True}
    schema: Json = {"type": field.type}
    if field.type == "date-time":
        schema = {"type": "string", "format": "date-time"}
    elif field.type == "array":
        schema = list_of(items_of(name))
    more: dict[str, Any] = {"nullable": field.null or None, "enum": [*field.choices] or None, "minimum": field.minimum}
    return {**schema, **{name: value for name, value in more.items() if value is not None}}


def _success(operation: Operation) -> Json:
    answers = ANSWERS.get(operation.name)
    if answers is None and operation.shape is None:
        return {"204" if operation.method == "DELETE" else "201": {"description": "Done."}}
    answers = answers or {JSON: ref(_name_of(operation.shape))}
    return {"200": {"description": "Done.", "content": {kind: {"schema": schema} for kind, schema in answers.items()}}}


def _name_of(shape: Mapper | Collection | None) -> str:
    if isinstance(shape, Collection):
        return shape.mapper.name.removesuffix("Item").removesuffix("Collection") + "Collection"
    return shape.name if shape is not None else ""


def _schemas(operations: Iterable[Operation]) -> Json:
    found: Json = {**PARTS, **{mapper.name: schema_of(mapper) for mapper in NESTED}}
    for operation in operations:
        shape = operation.shape
        if isinstance(shape, Collection):
            listed = {shape.key: list_of(ref(shape.mapper.name)), "total_entries": {"type": "integer"}}
            found[_name_of(shape)] = object_of(**listed)
        mapper = shape.mapper if isinstance(shape, Collection) else shape
        if mapper is not None:
            found[mapper.name] = schema_of(mapper)
    return dict(sorted(found.items()))

"""The description of `/api/v1`, made from the records of its operations: OpenAPI, and a page for people. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from compat_auth.airflow.v1.forms import Field, Form
from compat_auth.airflow.v1.mapper import Mapper
from compat_auth.airflow.v1.messages import JSON, Json
from compat_auth.airflow.v1.operation import Collection, Operation
from compat_auth.airflow.v1.query import Kind, Parameter
from compat_auth.airflow.v1.router import NUMBERS
from compat_auth.problem import PROBLEM_JSON

_PLACE = re.compile(r"\{(\w+)\}")
_KINDS: dict[Kind, Json] = {
    Kind.LIST: {"type": "array", "items": {"type": "string"}},
    Kind.DATE: {"type": "string", "format": "date-time"},
    Kind.ORDER: {"type": "string"},
    Kind.LIMIT: {"type": "integer", "minimum": 0, "default": 100},
    Kind.OFFSET: {"type": "integer", "minimum": 0},
}


def document(operations: Iterable[Operation], version: str) -> Json:
    """Return the OpenAPI 3.0 document.

    Args:
        operations: All of them.
        version: Of what answers.
    """
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.0.3",
        "info": {"title": "Airflow API (v1), answered from /api/v2", "version": version},
        "servers": [{"url": "/api/v1"}],
        "paths": paths,
        "components": {"securitySchemes": {"Basic": {"type": "http", "scheme": "basic"}}},
    }


def as_bytes(described: Json) -> bytes:
    """Return the document as JSON, which is YAML, too (YAML 1.2 section 1.3)."""
    return json.dumps(described, separators=(",", ":")).encode()


def page(operations: Iterable[Operation]) -> bytes:
    """Return a page that lists the operations; it loads nothing and runs no script."""
    rows = "".join(
        f"<tr><td>{escape(operation.method)}</td><td><code>/api/v1{escape(operation.path)}</code></td>"
        f"<td>{escape(operation.name)}</td><td><code>{escape(operation.to)}</code></td></tr>"
        for operation in operations
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Airflow API (v1)</title></head><body>'
        '<h1>Airflow API (v1)</h1><p>Described in <a href="../openapi.json">openapi.json</a>.</p>'
        "<table><thead><tr><th>Method</th><th>Path</th><th>Operation</th><th>Airflow 3</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></body></html>"
    ).encode()


def _described(operation: Operation) -> Json:
    described: Json = {
        "operationId": operation.name,
        "deprecated": True,
        "parameters": [*_places(operation), *(_parameter(parameter) for parameter in operation.query)],
        "responses": {**_success(operation), "default": {"description": "Problem", "content": {PROBLEM_JSON: {}}}},
        "security": [] if operation.public else [{"Basic": []}],
    }
    if operation.form is not None:
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": _body(operation.form)}}}
    return described


def _places(operation: Operation) -> Iterator[Json]:
    for name in _PLACE.findall(operation.path):
        kind = "integer" if name in NUMBERS else "string"
        yield {"name": name, "in": "path", "required": True, "schema": {"type": kind}}


def _parameter(parameter: Parameter) -> Json:
    schema = _KINDS.get(parameter.kind, {"type": parameter.kind.value})
    return {"name": parameter.name, "in": "query", "required": parameter.required, "schema": schema}


def _body(form: Form) -> Json:
    body: Json = {"type": "object", "properties": {name: _field(field) for name, field in form.fields.items()}}
    return {**body, "required": list(form.required)} if form.required else body


def _field(field: Field) -> Json:
    schema: Json = {"type": "string", "format": "date-time"} if field.type == "date-time" else {"type": field.type}
    more: dict[str, Any] = {"nullable": field.null, "readOnly": field.read_only, "enum": list(field.choices)}
    return {**schema, **{name: value for name, value in more.items() if value}}


def _success(operation: Operation) -> Json:
    if operation.shape is None and operation.method == "DELETE":
        return {"204": {"description": "Done"}}
    return {"200": {"description": "Success", "content": {JSON: {"schema": _shape(operation.shape)}}}}


def _shape(shape: Mapper | Collection | None) -> Json:
    if shape is None:
        return {}
    if isinstance(shape, Collection):
        listed = {"type": "array", "items": _shape(shape.mapper)}
        return {"type": "object", "properties": {shape.key: listed, "total_entries": {"type": "integer"}}}
    return {"type": "object", "properties": {name: {} for name in sorted(shape.fields)}}

"""What a translated request sends, held against what an Airflow says of itself that it takes."""

import re
from collections.abc import Iterator
from typing import Any, Final, cast

from compat_auth.airflow.v1.messages import Call

# As `re.escape` leaves it; `:path` takes slashes, which stand encoded in what is sent.
_PLACE: Final = re.compile(r"\\\{\w+(:path)?\\\}")
_METHODS: Final = frozenset(("get", "post", "put", "patch", "delete"))


class Description:
    """An OpenAPI document, asked what it knows.

    Args:
        document: As the server gives it.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._schemas: dict[str, Any] = document["components"]["schemas"]
        described = [
            (method.upper(), path, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if method in _METHODS
        ]
        self._operations = [
            (method, re.compile(_PLACE.sub("[^/]+", re.escape(path))), operation)
            for method, path, operation in sorted(described, key=lambda one: one[1].count("{"))
        ]

    def unknown_in(self, call: Call) -> Iterator[str]:
        """Name everything in a call that the server has no word for; it would refuse it, or pass over it in silence."""
        operation = self._operation(call)
        if operation is None:
            yield f"{call.method} {call.path}"
            return
        known = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
        yield from (f"{call.method} {call.path} ?{name}" for name, _ in call.query if name not in known)
        if call.body is not None:
            if "requestBody" not in operation:
                yield f"{call.method} {call.path} has no body"
                return
            (schema,) = {
                repr(part["schema"]): part["schema"] for part in operation["requestBody"]["content"].values()
            }.values()
            yield from (f"{call.method} {call.path} {name}" for name in self._unknown_fields(schema, call.body))

    def _operation(self, call: Call) -> dict[str, Any] | None:
        return next(
            (
                operation
                for method, path, operation in self._operations
                if method == call.method and path.fullmatch(call.path)
            ),
            None,
        )

    def _unknown_fields(self, schema: dict[str, Any], body: object) -> Iterator[str]:
        if isinstance(body, list):
            for schema_of_items in self._forms(schema):
                for each in cast("list[object]", body):
                    yield from self._unknown_fields(schema_of_items.get("items", {}), each)
        elif isinstance(body, dict):
            forms = [form for form in self._forms(schema) if "properties" in form]
            if not forms:
                return  # any object will do
            for name, value in cast("dict[str, object]", body).items():
                takers = [form["properties"][name] for form in forms if name in form["properties"]]
                if not takers:
                    yield name
                elif len(takers) == 1:
                    yield from (f"{name}.{inner}" for inner in self._unknown_fields(takers[0], value))

    def _forms(self, schema: dict[str, Any]) -> list[dict[str, Any]]:
        if "$ref" in schema:
            return self._forms(self._schemas[schema["$ref"].rpartition("/")[2]])
        parts = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
        return [form for part in parts for form in self._forms(part)] if parts else [schema]

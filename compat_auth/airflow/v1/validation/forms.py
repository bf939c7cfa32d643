"""Parses and checks the JSON bodies of `/api/v1`, with 2.11's rules for each field. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from compat_auth.airflow.v1.mappers.dates import parse_date
from compat_auth.airflow.v1.messages import JSON, Json
from compat_auth.airflow.v1.problems import V1Problem, bad_request
from compat_auth.crypto.strict_json import finite, is_list, is_object, refuse_constant

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "date-time": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a body.

    Attributes:
        type: A type of JSON Schema, or "date-time".
        null: null is also a value.
        choices: The allowed values, unless empty.
        read_only: A client must not send it.
        minimum: The smallest number.
    """

    type: str = "string"
    null: bool = False
    choices: tuple[str, ...] = ()
    read_only: bool = False
    minimum: int | None = None

    def check(self, name: str, value: object) -> None:
        """Raise unless the value fits.

        Raises:
            V1Problem: 400, the value does not fit.
        """
        if self.read_only:
            raise bad_request(f"Property is read-only - '{name}'")
        if value is None and self.null:
            return
        if not isinstance(value, _TYPES[self.type]) or (self.type in ("integer", "number") and isinstance(value, bool)):
            shown = self.type if self.type != "date-time" else "string"
            raise bad_request(f"{_shown(value)} is not of type '{shown}' - '{name}'")
        if self.choices and value not in self.choices:
            raise bad_request(f"{_shown(value)} is not one of {list(self.choices)} - '{name}'")
        if self.minimum is not None and isinstance(value, (int, float)) and value < self.minimum:
            raise bad_request(f"{_shown(value)} is less than the minimum of {self.minimum} - '{name}'")
        if self.type == "date-time" and isinstance(value, str):
            try:
                parse_date(value)
            except ValueError:
                raise bad_request(f"{_shown(value)} is not a 'date-time' - '{name}'") from None


STRING = Field()
OPTIONAL = Field(null=True)
BOOLEAN = Field("boolean")
INTEGER = Field("integer")
DATE = Field("date-time")
LIST = Field("array")
READ_ONLY = Field(read_only=True)


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a body.

    Attributes:
        fields: By name; no other field is allowed.
        required: Required fields; the error lists all missing ones.
        described_as_required: Required by 2.11's OpenAPI description, which is checked first; the error names one.
        title: Title of the error.
        may_be_missing: A missing body counts as an empty object.
    """

    fields: Mapping[str, Field] = field(default_factory=dict[str, Field])
    required: tuple[str, ...] = ()
    described_as_required: tuple[str, ...] = ()
    title: str = ""
    may_be_missing: bool = False

    def read(self, body: bytes, content_type: str) -> Json:
        """Return the client's object with every field checked.

        Raises:
            V1Problem: 400, or 415 for another content type than JSON.
        """
        if not body:
            if self.may_be_missing:
                return {}
            raise bad_request("Request body must not be empty")
        if not _is_json(content_type):
            detail = f"Invalid Content-type ({content_type}), expected JSON data"
            raise V1Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, routed=False)
        document = _parse(body)
        for name in self.described_as_required:
            if name not in document:
                raise bad_request(f"'{name}' is a required property")
        for name, value in document.items():
            if name in self.fields:
                self.fields[name].check(name, value)
        problems = {name: ["Missing data for required field."] for name in self.required if name not in document}
        problems.update({name: ["Unknown field."] for name in document if name not in self.fields})
        if problems:
            raise bad_request(str(problems), self.title)
        return document


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == JSON or (kind.startswith("application/") and kind.endswith("+json"))


def _parse(body: bytes) -> Json:
    try:
        document: object = json.loads(body, parse_constant=refuse_constant, parse_float=finite)
    except (ValueError, RecursionError):
        raise bad_request("Request body is not valid JSON") from None
    if not is_object(document):
        raise bad_request(f"{_shown(document)} is not of type 'object'")
    return document


def _shown(value: object) -> str:
    """Return a value's `repr`, shortened if it is long."""
    if is_object(value) or is_list(value):
        return "{}" if is_object(value) else "[]"
    shown = repr(value)
    return shown if len(shown) <= 200 else f"{shown[:200]}..."

"""The parts of which our OpenAPI document is made: operations, bodies, schemas. No I/O, no Flask."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from compat_auth.api.oauth.token_request import ACCESS_TOKEN, EXCHANGE_GRANT, JWT, SUBJECT_TYPES
from compat_auth.api.schemas import CountedTokenView, MadeTokenView, NewTokenBody, RefreshBody, TokenView

Part = dict[str, Any]

JSON = "application/json"
PROBLEM = "application/problem+json"
FORM = "application/x-www-form-urlencoded"
TEXT: Part = {"type": "string"}
TEXTS: Part = {"type": "array", "items": TEXT}
_MODELS: tuple[type[BaseModel], ...] = (TokenView, CountedTokenView, MadeTokenView, NewTokenBody, RefreshBody)
_REFUSALS = {
    400: "The request can be read in two ways, or its body is no JSON.",
    401: "No credential, or a wrong one.",
    403: "Known, but not allowed.",
    404: "You have no such token.",
    409: "The name is taken.",
    413: "The body is too large.",
    415: "The body is neither JSON nor a form.",
    422: "A value makes no sense.",
    429: "Too many wrong credentials, or too many tokens.",
    431: "Too many headers.",
    501: "A method that is not supported.",
    503: "A source could not be asked; try again later.",
}
SCHEMES: Part = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A personal token, or another that a backend takes."},
    "basic": {"type": "http", "scheme": "basic", "description": "User name and password."},
}
ANYBODY: list[Part] = []
SOMEBODY: list[Part] = [{scheme: []} for scheme in SCHEMES]


def operation(
    summary: str, answers: dict[int, Part | None], refusals: tuple[int, ...] = (), security: list[Part] = ANYBODY
) -> Part:
    """Return an operation.

    Args:
        summary: Its purpose.
        answers: Schema of each success, None for no body.
        refusals: Statuses, in addition to the 400 and 431 that any request may get.
        security: The credentials that it accepts.
    """
    responses: Part = {
        str(status): {"description": "Done."} | ({} if schema is None else {"content": {JSON: {"schema": schema}}})
        for status, schema in answers.items()
    }
    problem = {PROBLEM: {"schema": ref("Problem")}}
    # 400 and 431: any request can have two credentials, a path with two readings, too many headers.
    for status in sorted({400, 431, *refusals}):
        responses[str(status)] = {"description": _REFUSALS[status], "content": dict(problem)}
    return {"summary": summary, "security": security, "responses": responses}


def header(name: str, description: str, *, pattern: str = "") -> Part:
    """Return a header that an operation needs."""
    schema = {**TEXT, "pattern": pattern} if pattern else TEXT
    return {"name": name, "in": "header", "required": True, "schema": schema, "description": description}


def body(model: str, *, required: bool = True) -> Part:
    """Return a JSON body."""
    return {"required": required, "content": {JSON: {"schema": ref(model)}}}


def ref(name: str) -> Part:
    """Return a reference to a schema by name."""
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(**properties: Part) -> Part:
    """Return the schema of an object that has all of these."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def schemas() -> Part:
    """Return every schema that the document refers to, by name: Pydantic makes those of bodies."""
    _, schema = models_json_schema(
        [(model, "validation") for model in _MODELS], ref_template="#/components/schemas/{model}"
    )
    found: Part = schema["$defs"]
    return {**found, **_OWN}


_OWN: Part = {
    "Problem": {
        "description": "RFC 9457.",
        "type": "object",
        "properties": {"title": TEXT, "status": {"type": "integer"}, "detail": TEXT},
        "required": ["title", "status"],
    },
    "Password": {
        "description": "Instead of a header.",
        "type": "object",
        "properties": {"username": TEXT, "password": TEXT},
    },
    "Identity": {
        "type": "object",
        "properties": {
            "username": TEXT,
            "backend": TEXT,
            "directory": TEXT,
            "email": TEXT,
            "roles": TEXTS,
            "groups": TEXTS,
            "role_account": {"type": "boolean"},
            "scopes": {"description": "null: not limited.", "anyOf": [TEXTS, {"type": "null"}]},
            "expires_at": {"description": "Seconds since the epoch.", "type": ["integer", "null"]},
            "credential_id": TEXT,
        },
        "required": ["username", "backend", "roles", "groups", "scopes", "expires_at"],
    },
    "OAuthError": {
        "description": "RFC 6749 5.2.",
        "type": "object",
        "properties": {"error": TEXT, "error_description": TEXT},
        "required": ["error"],
    },
    "AirflowRefusal": {
        "description": 'In the words of Airflow, with `mode = "airflow2"`.',
        **object_of(detail={}),
    },
    "PasswordForm": {
        "description": "Instead of a header.",
        "type": "object",
        "properties": {"grant_type": {"enum": ["password"]}, "username": TEXT, "password": TEXT},
    },
    "TokenExchange": {
        "description": "RFC 8693 2.1. The new token is for the audience that tokens are made for here, and not limited.",
        "type": "object",
        "properties": {
            "grant_type": {"enum": [EXCHANGE_GRANT]},
            "subject_token": {**TEXT, "description": "What is exchanged."},
            "subject_token_type": {"enum": sorted(SUBJECT_TYPES)},
            "requested_token_type": {"enum": [ACCESS_TOKEN, JWT]},
            "audience": TEXT,
            "resource": TEXT,
            "scope": TEXT,
        },
        "required": ["grant_type", "subject_token", "subject_token_type"],
    },
    "ExchangedToken": {
        "description": "RFC 8693 2.2.1.",
        **object_of(
            access_token=TEXT,
            issued_token_type={"enum": [ACCESS_TOKEN, JWT]},
            token_type={"enum": ["Bearer"]},
            expires_in={"type": "integer"},
            scope=TEXT,
        ),
    },
    "LeakReport": {
        "description": "As GitHub's secret scanning reports to its partners.",
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"token": TEXT, "type": TEXT, "url": TEXT, "source": TEXT},
            "required": ["token"],
        },
    },
}

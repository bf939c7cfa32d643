"""Our own endpoints as an OpenAPI 3.1 document. No I/O, no Flask.

What is here is what is answered: a test compares the paths with the gateway's, and a fuzzer asks every operation whether
it answers as it says.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from compat_auth import __version__
from compat_auth.api.personal_tokens import PATH as TOKENS
from compat_auth.api.token_bodies import MadeTokenView, NewTokenBody, RefreshBody, TokenView

Part = dict[str, Any]

_JSON = "application/json"
_PROBLEM = "application/problem+json"
_METHODS = frozenset(("get", "post", "patch", "delete"))
_MODELS: tuple[type[BaseModel], ...] = (TokenView, MadeTokenView, NewTokenBody, RefreshBody)
_TEXT: Part = {"type": "string"}
_TEXTS: Part = {"type": "array", "items": _TEXT}
_REFUSALS = {
    400: "The request can be read in two ways, or its body is no JSON.",
    401: "No credential, or a wrong one.",
    403: "Known, but not allowed.",
    404: "There is no such token of yours.",
    409: "The name is taken.",
    413: "The body is too large.",
    415: "The body is neither JSON nor a form.",
    422: "A value makes no sense.",
    429: "Too many wrong credentials, or too many tokens.",
    431: "Too many headers.",
    503: "A source could not be asked; try again later.",
}
_SCHEMES: Part = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A personal token, or another that a backend takes."},
    "basic": {"type": "http", "scheme": "basic", "description": "User name and password."},
}
_METADATA = {
    "/.well-known/oauth-authorization-server": "Where tokens are given, taken back and asked about (RFC 8414)",
    "/.well-known/oauth-protected-resource": "Who gives tokens for the API behind (RFC 9728)",
}
_ANYBODY: list[Part] = []
_SOMEBODY: list[Part] = [{scheme: []} for scheme in _SCHEMES]


def describe(prefix: str, answered: Collection[str]) -> Part:
    """Return the document.

    Args:
        prefix: Where our own pages are, with both slashes.
        answered: The paths that a configuration answers; of a path's parameter only what stands before it.
    """
    paths: dict[str, Part] = {
        f"{prefix}live": {"get": _operation("Is the process alive?", {200: _object(status=_TEXT)})},
        f"{prefix}ready": {"get": _ready()},
        f"{prefix}whoami": {"get": _operation("Who am I?", {200: _ref("Identity")}, (401, 403, 429, 503), _SOMEBODY)},
        "/.well-known/jwks.json": {"get": _keys()},
        f"{prefix}introspect": {"post": _introspection()},
        f"{prefix}revoke": {"post": _revocation()},
        **{path: {"get": _operation(summary, {200: {"type": "object"}})} for path, summary in _METADATA.items()},
        "/auth/token": {"post": _token("Exchange a credential for a token of the API")},
        "/auth/token/cli": {"post": _token("The same, with the lifetime for command lines")},
        **_personal_tokens(f"{prefix}{TOKENS}"),
    }
    paths = {path: item for path, item in paths.items() if path.partition("{")[0] in answered}
    for path, item in paths.items():
        for method in _METHODS & item.keys():
            item[method]["tags"] = [_tag(path.removeprefix(prefix))]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "compat_auth",
            "version": __version__,
            "description": "Endpoints of the gateway itself. Everything else is the API behind it.",
        },
        "components": {"securitySchemes": _SCHEMES, "schemas": {**_schemas(), **_OWN_SCHEMAS}},
        "paths": paths,
    }


def _tag(path: str) -> str:
    if path in ("live", "ready"):
        return "State"
    if path.startswith(TOKENS):
        return "Personal tokens"
    return "Where things are" if path.startswith("/.well-known/") else "Identity and tokens"


def _personal_tokens(path: str) -> Part:
    refusals = (401, 403, 429, 503)
    token_id: Part = {"name": "id", "in": "path", "required": True, "schema": _TEXT}
    whose: list[Part] = [
        {
            "name": "username",
            "in": "query",
            "schema": _TEXT,
            "description": "A role account of yours; admins: anybody.",
        },
        {"name": "all", "in": "query", "schema": {"enum": ["true"]}, "description": "Everybody's, for admins."},
    ]
    found = _object(personal_tokens={"type": "array", "items": _ref("TokenView")})
    one = {"allOf": [_ref("TokenView"), _object(uses={"type": "object", "additionalProperties": {"type": "integer"}})]}
    made, changed = _ref("MadeTokenView"), (400, 404, 409, 413, 422)
    return {
        path: {
            "get": {**_operation("My personal tokens", {200: found}, refusals, _SOMEBODY), "parameters": whose},
            "post": {
                **_operation("Make a personal token", {201: made}, (*refusals, *changed), _SOMEBODY),
                "requestBody": _body("NewTokenBody"),
            },
        },
        f"{path}/{{id}}": {
            "parameters": [token_id],
            "get": _operation("One of my personal tokens", {200: one}, (*refusals, 404), _SOMEBODY),
            "patch": {
                **_operation("Give it a new secret", {200: made}, (*refusals, *changed), _SOMEBODY),
                "requestBody": _body("RefreshBody", required=False),
            },
            "delete": _operation("Revoke it", {204: None}, (*refusals, 404), _SOMEBODY),
        },
    }


def _token(summary: str) -> Part:
    operation = _operation(summary, {201: _object(access_token=_TEXT)}, (401, 403, 413, 415, 422, 429, 503), _SOMEBODY)
    # Without a credential in the header the body may hold one: each alternative is enough (OpenAPI 3.1 4.8.10).
    operation["security"] = [*_SOMEBODY, {}]
    operation["requestBody"] = {"required": False, "content": {_JSON: {"schema": _ref("Password")}}}
    return operation


def _introspection() -> Part:
    found = {"type": "object", "properties": {"active": {"type": "boolean"}}, "required": ["active"]}
    operation = _operation("Is a token good? (RFC 7662)", {200: found}, (401, 403, 413, 429, 503), _SOMEBODY)
    return _of_oauth(operation)


def _revocation() -> Part:
    return _of_oauth(_operation("Take a token back (RFC 7009)", {200: None}, (413, 429, 503)))


def _of_oauth(operation: Part) -> Part:
    form = {**_object(token=_TEXT), "properties": {"token": _TEXT, "token_type_hint": _TEXT}}
    operation["requestBody"] = {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": form}}}
    operation["responses"]["400"]["content"][_JSON] = {"schema": _object(error=_TEXT, error_description=_TEXT)}
    return operation


def _ready() -> Part:
    operation = _operation("Can requests be served?", {200: _object(status=_TEXT)})
    content = {_JSON: {"schema": _object(status=_TEXT, reason=_TEXT)}}
    operation["responses"]["503"] = {"description": "The API behind is not there.", "content": content}
    return operation


def _keys() -> Part:
    operation = _operation("Public keys (RFC 7517)", {200: None})
    schema = _object(keys={"type": "array", "items": {"type": "object"}})
    operation["responses"]["200"]["content"] = {"application/jwk-set+json": {"schema": schema}}
    return operation


def _operation(
    summary: str, answers: dict[int, Part | None], refusals: tuple[int, ...] = (), security: list[Part] = _ANYBODY
) -> Part:
    responses: Part = {
        str(status): {"description": "Done."} | ({} if schema is None else {"content": {_JSON: {"schema": schema}}})
        for status, schema in answers.items()
    }
    problem = {_PROBLEM: {"schema": _ref("Problem")}}
    # 400 and 431: any request can have two credentials, a path with two readings, too many headers.
    for status in sorted({400, 431, *refusals}):
        responses[str(status)] = {"description": _REFUSALS[status], "content": problem}
    return {"summary": summary, "security": security, "responses": responses}


def _body(model: str, *, required: bool = True) -> Part:
    return {"required": required, "content": {_JSON: {"schema": _ref(model)}}}


def _ref(name: str) -> Part:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**properties: Part) -> Part:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _schemas() -> Part:
    # As Pydantic checks and makes them.
    _, schema = models_json_schema(
        [(model, "validation") for model in _MODELS], ref_template="#/components/schemas/{model}"
    )
    found: Part = schema["$defs"]
    return found


_OWN_SCHEMAS: Part = {
    "Problem": {
        "description": "RFC 9457.",
        "type": "object",
        "properties": {"title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT},
        "required": ["title", "status"],
    },
    "Password": {
        "description": "Instead of a header.",
        "type": "object",
        "properties": {"username": _TEXT, "password": _TEXT},
    },
    "Identity": {
        "type": "object",
        "properties": {
            "username": _TEXT,
            "backend": _TEXT,
            "directory": _TEXT,
            "email": _TEXT,
            "roles": _TEXTS,
            "groups": _TEXTS,
            "role_account": {"type": "boolean"},
            "scopes": {"description": "null: not limited.", "anyOf": [_TEXTS, {"type": "null"}]},
            "expires_at": {"description": "Seconds since the epoch.", "type": ["integer", "null"]},
            "credential_id": _TEXT,
        },
        "required": ["username", "backend", "roles", "groups", "scopes", "expires_at"],
    },
}

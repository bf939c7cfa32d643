"""Our own endpoints as an OpenAPI 3.1 document. No I/O, no Flask.

The document matches the answers: a test compares the paths with the gateway's, and a fuzzer checks the answers of every
operation.
"""

from __future__ import annotations

from collections.abc import Collection

from compat_auth import __version__
from compat_auth.api.leak_receiver import PATH as LEAKED
from compat_auth.api.openapi_components import (
    FORM,
    JSON,
    SCHEMES,
    SOMEBODY,
    TEXT,
    Part,
    body,
    header,
    object_of,
    operation,
    ref,
    schemas,
)
from compat_auth.api.personal_tokens import PATH as TOKENS
from compat_auth.personal_tokens.leak_reports import KEY_HEADER, SIGNATURE_HEADER

_METHODS = frozenset(("get", "post", "patch", "delete"))
_METADATA = {
    "/.well-known/oauth-authorization-server": "Where clients get, revoke and introspect tokens (RFC 8414)",
    "/.well-known/oauth-protected-resource": "Which server issues tokens for the protected API (RFC 9728)",
}
_FORWARD_AUTH = {"nginx": "X-Original", "caddy": "X-Forwarded", "traefik": "X-Forwarded"}
_PASSED_ON: Part = {
    "Authorization": {"schema": TEXT, "description": "To send upstream instead of the caller's."},
    "X-Compat-Auth-Cookie": {"schema": TEXT, "description": "To send upstream as `Cookie`."},
}


def describe(prefix: str, answered: Collection[str], *, root: str = "") -> Part:
    """Return the document.

    Args:
        prefix: The prefix of our own pages, with both slashes.
        answered: The paths that a configuration answers; a path with a parameter is given up to the parameter.
        root: The path in front of all of them, without a slash at the end.
    """
    paths: dict[str, Part] = {
        f"{prefix}live": {"get": operation("Is the process alive?", {200: object_of(status=TEXT)})},
        f"{prefix}ready": {"get": _ready()},
        f"{prefix}whoami": {"get": operation("Who am I?", {200: ref("Identity")}, (401, 403, 429, 503), SOMEBODY)},
        f"{prefix}session": {"get": _session()},
        f"{prefix}openapi.json": {"get": operation("This document", {200: {"type": "object"}})},
        "/.well-known/jwks.json": {"get": _keys()},
        f"{prefix}introspect": {"post": _introspection()},
        f"{prefix}revoke": {"post": _revocation()},
        **{path: {"get": operation(summary, {200: {"type": "object"}})} for path, summary in _METADATA.items()},
        "/auth/token": _token("Exchange a credential for a token of the API"),
        "/auth/token/cli": _token("The same, with the lifetime for command lines"),
        **_personal_tokens(f"{prefix}{TOKENS}"),
        f"{prefix}{LEAKED}": {"post": _leak_report()},
        **{f"{prefix}forward-auth/{name}": {"get": _forward_auth(said)} for name, said in _FORWARD_AUTH.items()},
        f"{prefix}forward-auth/lane": {"get": _lane()},
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
        **({"servers": [{"url": root}]} if root else {}),
        "components": {"securitySchemes": SCHEMES, "schemas": schemas()},
        "paths": paths,
    }


def _tag(path: str) -> str:
    if path in ("live", "ready"):
        return "State"
    if path.startswith((TOKENS, LEAKED)):
        return "Personal tokens"
    if path.startswith("forward-auth/"):
        return "For front proxies"
    return "Where things are" if path.startswith(("/.well-known/", "openapi")) else "Identity and tokens"


def _personal_tokens(path: str) -> Part:
    refusals = (401, 403, 429, 503)
    token_id: Part = {"name": "id", "in": "path", "required": True, "schema": TEXT}
    whose: list[Part] = [
        {
            "name": "username",
            "in": "query",
            "schema": TEXT,
            "description": "Your role account; admins: any user.",
        },
        {"name": "all", "in": "query", "schema": {"enum": ["true"]}, "description": "Everybody's, for admins."},
    ]
    found = object_of(personal_tokens={"type": "array", "items": ref("TokenView")})
    one = ref("CountedTokenView")
    made, changed = ref("MadeTokenView"), (400, 404, 409, 413, 422)
    return {
        path: {
            "get": {**operation("My personal tokens", {200: found}, refusals, SOMEBODY), "parameters": whose},
            "post": {
                **operation("Make a personal token", {201: made}, (*refusals, *changed), SOMEBODY),
                "requestBody": body("NewTokenBody"),
            },
        },
        f"{path}/{{id}}": {
            "parameters": [token_id],
            "get": operation("One of my personal tokens", {200: one}, (*refusals, 404), SOMEBODY),
            "patch": {
                **operation("Give it a new secret", {200: made}, (*refusals, *changed), SOMEBODY),
                "requestBody": body("RefreshBody", required=False),
            },
            "delete": operation("Revoke it", {204: None}, (*refusals, 404), SOMEBODY),
        },
    }


def _token(summary: str) -> Part:
    # Without a credential in the header the body may hold one: each alternative is enough (OpenAPI 3.1 4.8.10).
    post = operation(summary, {200: ref("ExchangedToken"), 201: object_of(access_token=TEXT)}, _OF_TOKEN, SOMEBODY)
    post["security"] = [*SOMEBODY, {}]
    post["responses"]["200"]["description"] = "A token exchange is done (RFC 8693)."
    forms = {"anyOf": [ref("PasswordForm"), ref("TokenExchange")]}
    content = {JSON: {"schema": ref("Password")}, FORM: {"schema": forms}}
    post["requestBody"] = {"required": False, "content": content}
    get = operation(f"{summary}, by a header", {201: object_of(access_token=TEXT)}, _OF_TOKEN, SOMEBODY)
    get["responses"]["default"] = {"description": "Without the header `Authorization` the API behind answers."}
    for described in (post, get):
        for status in ("401", "403", "422"):
            described["responses"][status]["content"][JSON] = {"schema": ref("AirflowRefusal")}
        refusals = {"anyOf": [ref("OAuthError"), ref("AirflowRefusal")]}
        described["responses"]["400"]["content"][JSON] = {"schema": refusals}
    return {"post": post, "get": get}


_OF_TOKEN = (401, 403, 413, 415, 422, 429, 503)


def _introspection() -> Part:
    found = {"type": "object", "properties": {"active": {"type": "boolean"}}, "required": ["active"]}
    described = operation("Is a token good? (RFC 7662)", {200: found}, (401, 403, 413, 429, 503), SOMEBODY)
    return _of_oauth(described)


def _revocation() -> Part:
    return _of_oauth(operation("Revoke a token (RFC 7009)", {200: None}, (413, 429, 503)))


def _of_oauth(described: Part) -> Part:
    form = {**object_of(token=TEXT), "properties": {"token": TEXT, "token_type_hint": TEXT}}
    described["requestBody"] = {"required": True, "content": {FORM: {"schema": form}}}
    described["responses"]["400"]["content"][JSON] = {"schema": ref("OAuthError")}
    return described


def _ready() -> Part:
    described = operation("Can requests be served?", {200: object_of(status=TEXT)})
    content = {JSON: {"schema": object_of(status=TEXT, reason=TEXT)}}
    described["responses"]["503"] = {"description": "The API behind is not there.", "content": content}
    return described


def _keys() -> Part:
    described = operation("Public keys (RFC 7517)", {200: None})
    schema = object_of(keys={"type": "array", "items": {"type": "object"}})
    described["responses"]["200"]["content"] = {"application/jwk-set+json": {"schema": schema}}
    return described


def _session() -> Part:
    content = object_of(username=TEXT, created={"type": "integer"}, csrf_token=TEXT)
    described = operation("Whose session is this browser's?", {200: content}, (503,))
    nobody = {JSON: {"schema": object_of(username={"type": "null"})}}
    described["responses"]["401"] = {"description": "Nobody is logged in.", "content": nobody}
    described["responses"]["503"]["content"] = {"text/html": {}}
    return described


def _leak_report() -> Part:
    described = operation("Report leaked tokens", {204: None}, (401, 413, 503))
    described["description"] = "Signed with ECDSA (P-256, SHA-256) over the very bytes of the body."
    described["parameters"] = [
        header(KEY_HEADER, "Which of the reporter's published keys has signed."),
        header(SIGNATURE_HEADER, "The signature, in Base64."),
    ]
    described["responses"]["204"]["description"] = "Whatever of it is ours is revoked; it does not say what was."
    described["responses"]["401"]["description"] = "Not signed by a key of the reporter's."
    return {**described, "requestBody": body("LeakReport")}


def _lane() -> Part:
    described = operation("May this credential pass for the next moment?", {200: None}, (401, 404), SOMEBODY)
    described["security"] = [*SOMEBODY, {}]
    described["parameters"] = [_proxy_secret()]
    described["responses"]["401"] = {"description": "Nobody can tell from memory: send the request to the gateway."}
    described["responses"]["404"]["description"] = "Forward-auth is off, or on another listener."
    described["responses"]["200"] = {
        "description": "It may.",
        "headers": {
            **_PASSED_ON,
            "X-Compat-Auth-Lasts-Ms": {"schema": TEXT, "description": "For how many milliseconds, at most 900."},
            "X-Accel-Expires": {"schema": TEXT, "description": "The same, for nginx."},
        },
    }
    return described


def _proxy_secret() -> Part:
    secret = header("X-Compat-Auth-Proxy-Secret", "The front proxy's own, where `[forward_auth]` has a secret.")
    return {**secret, "required": False}


def _forward_auth(said: str) -> Part:
    described = operation("May this request pass?", {200: None}, (401, 403, 404, 429, 501, 503), SOMEBODY)
    described["security"] = [*SOMEBODY, {}]
    described["parameters"] = [
        header(f"{said}-Method", "Method of the request that is asked about.", pattern="^[A-Za-z]+$"),
        header(f"{said}-{'URI' if said == 'X-Original' else 'Uri'}", "Its path and query.", pattern="^/"),
        _proxy_secret(),
    ]
    described["responses"]["404"]["description"] = "Forward-auth is off, or on another listener."
    described["responses"]["200"] = {
        "description": "It may.",
        "headers": _PASSED_ON,
    }
    return described

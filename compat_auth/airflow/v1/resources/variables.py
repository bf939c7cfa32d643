"""Variables. No I/O.

3.x masks a secret as "***" in every operation: a client that reads a value and writes it back must not destroy the secret.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from compat_auth.airflow.v1.mappers.stored import VARIABLE
from compat_auth.airflow.v1.messages import Answer, Call, Json, Steps, json_reply
from compat_auth.airflow.v1.operation import V2, Collection, Operation, OperationRequest, require
from compat_auth.airflow.v1.problems import bad_request
from compat_auth.airflow.v1.validation.forms import OPTIONAL, STRING, Form
from compat_auth.airflow.v1.validation.query import MASK, PAGE, order
from compat_auth.crypto.strict_json import is_list, is_object

MASKED = "***"
_ALL = f"{V2}/variables"
_ONE = f"{_ALL}/{{variable_key}}"
_FORM = Form(
    {"key": STRING, "value": STRING, "description": OPTIONAL}, ("key", "value"), title="Invalid Variable schema"
)
_MISSING = ("Variable not found", "Variable does not exist")
# 2.11 accepts only the name of the column, "val"; its documentation says "value".
_MASKABLE = {"val": "value", "value": "value", "description": "description"}


def _is_unchanged_secret(request: OperationRequest, key: str, value: str) -> Generator[Call, Answer, bool]:
    """Return whether the new value is the masked secret, as a reader sees it: then the secret must stay unchanged.

    Raises:
        V1Problem: The value contains a mask but differs from the masked secret, so that the intended value is unknown;
            or the masked secret cannot be read.
    """
    if MASKED not in value:
        return False
    answer = yield Call("GET", request.path(_ONE, variable_key=key))
    if answer.status == 404:
        return False
    require(request, answer)
    shown = VARIABLE(answer.json())["value"]
    if MASKED not in shown:
        return False
    if _read(shown) == _read(value):
        return True
    if _holds_mask(_read(value)):
        raise bad_request(
            f"the value contains {MASKED}, the mask of a secret that cannot be read back: send the complete value"
        )
    return False


def _read(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _holds_mask(found: Any) -> bool:
    if is_object(found):
        return any(_holds_mask(member) for member in found.values())
    if is_list(found):
        return any(_holds_mask(member) for member in found)
    return bool(found == MASKED)


def _post(request: OperationRequest) -> Steps:
    """Create or replace a variable, which 2.x does in one request."""
    body: Json = {name: request.body[name] for name in ("key", "value", "description") if name in request.body}
    whole = {"description": None, **body}
    fields = (
        ["description"]
        if (yield from _is_unchanged_secret(request, body["key"], body["value"]))
        else ["value", "description"]
    )
    change = _change(request, whole, fields)
    if fields == ["description"]:
        answer = yield change
    else:
        answer = yield replace(request.call(whole), does=f"create variable {body['key']!r}")
        if answer.status == 409:
            answer = yield change
    require(request, answer)
    # 2.11 answers with the sent value; the answer of 3.x is masked.
    return json_reply(body)


def _change(request: OperationRequest, body: Json, fields: list[str]) -> Call:
    path = request.path(_ONE, variable_key=body["key"])
    mask = tuple(("update_mask", name) for name in fields)
    return Call("PATCH", path, mask, body, does=f"change variable {body['key']!r}")


def _patch(request: OperationRequest) -> Steps:
    body = request.body
    if body["key"] != request.named("variable_key"):
        raise bad_request("key from request body doesn't match uri parameter", "Invalid post body")
    mask = request.query.values("update_mask")
    fields: list[str] = [name for name in ("value", "description") if name in body]
    if mask:
        for name in mask:
            if _MASKABLE.get(name) not in fields:
                raise bad_request(f"'{name}' is unknown or cannot be updated.")
        fields = [_MASKABLE[name] for name in mask]
    if "value" in fields and (yield from _is_unchanged_secret(request, body["key"], body["value"])):
        fields.remove("value")
    path = request.path(_ONE)
    # An empty mask means every field.
    answer = yield _change(request, {"description": None, **body}, fields) if fields else Call("GET", path)
    require(request, answer)
    shown = VARIABLE(answer.json())
    if "value" in fields:
        shown["value"] = body["value"]
    return json_reply(shown)


OPERATIONS = (
    Operation(
        name="get_variables",
        method="GET",
        path="/variables",
        to=f"GET {_ALL}",
        query=(*PAGE, order("id", value="_val", key="", id="")),
        shape=Collection(VARIABLE, "variables"),
    ),
    Operation(
        name="post_variables",
        method="POST",
        path="/variables",
        to=f"POST {_ALL}",
        form=_FORM,
        shape=VARIABLE,
        code=_post,
    ),
    Operation(
        name="get_variable",
        method="GET",
        path="/variables/{variable_key}",
        to=f"GET {_ONE}",
        shape=VARIABLE,
        missing=_MISSING,
    ),
    Operation(
        name="patch_variable",
        method="PATCH",
        path="/variables/{variable_key}",
        to=f"PATCH {_ONE}",
        query=(MASK,),
        form=_FORM,
        shape=VARIABLE,
        code=_patch,
        missing=_MISSING,
    ),
    Operation(
        name="delete_variable",
        method="DELETE",
        path="/variables/{variable_key}",
        to=f"DELETE {_ONE}",
        missing=("Variable not found", None),
    ),
)

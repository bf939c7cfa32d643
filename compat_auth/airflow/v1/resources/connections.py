"""Connections. No I/O."""

from __future__ import annotations

import json
import re
import secrets

from compat_auth.airflow.v1.mappers.mapper import Mapper
from compat_auth.airflow.v1.mappers.stored import CONNECTION, CONNECTION_LISTED
from compat_auth.airflow.v1.messages import Json, Reply, Steps, json_reply
from compat_auth.airflow.v1.operation import V2, Collection, Operation, OperationRequest, fetch, require, shaped
from compat_auth.airflow.v1.problems import V1Problem, bad_request
from compat_auth.airflow.v1.validation.forms import OPTIONAL, STRING, Field, Form
from compat_auth.airflow.v1.validation.query import MASK, PAGE, order
from compat_auth.crypto.strict_json import finite, refuse_constant

_ALL = f"{V2}/connections"
_ONE = f"{_ALL}/{{connection_id}}"
_FIELDS = {
    "connection_id": STRING,
    "conn_type": STRING,
    **dict.fromkeys(("description", "host", "login", "schema", "extra"), OPTIONAL),
    "port": Field("integer", null=True),
    "password": STRING,
}
_WHOLE = Form(_FIELDS, ("connection_id", "conn_type"))
_MISSING = ("Connection not found", "The Connection with connection_id: `{connection_id}` was not found")
# A placeholder in a body that must have a type; the mask omits it, so it is never stored.
_ANY_TYPE = "generic"
_ID = re.compile(r"[\w.-]+\Z")
_MAX_ID = 200
_TEST = Mapper(name="ConnectionTest", same=("status", "message"))
_DISABLED = b"Testing connections is disabled in Airflow configuration. Contact your deployment admin to enable it."


def _check_id(connection_id: str) -> None:
    if len(connection_id) > _MAX_ID:
        raise bad_request(f"The key has to be less than {_MAX_ID} characters")
    if not _ID.match(connection_id):
        raise bad_request(
            f"The key {connection_id!r} has to be made of alphanumeric characters, dashes, dots and underscores exclusively"
        )


def _check_extra(body: Json) -> None:
    extra = body.get("extra")
    if not extra:
        return
    try:
        known = isinstance(json.loads(extra, parse_constant=refuse_constant, parse_float=finite), dict)
    except (ValueError, RecursionError):
        known = False
    if not known:
        raise bad_request("extra: Airflow 3 accepts only a JSON object")


def _post(request: OperationRequest) -> Steps:
    _check_id(request.body["connection_id"])
    _check_extra(request.body)
    answer = yield request.call(request.body)
    if answer.status == 409:
        raise V1Problem(409, f"Connection already exist. ID: {request.body['connection_id']}")
    return shaped(request, answer)


def _patch(request: OperationRequest) -> Steps:
    """Change the client's fields: 3.x needs a complete body, and changes every field without a mask."""
    body, connection_id = request.body, request.named("connection_id")
    if body.get("connection_id", connection_id) != connection_id:
        raise bad_request("The connection_id cannot be updated.")
    fields = [name for name in body if name != "connection_id"]
    for name in request.query.values("update_mask") or ():
        if name not in fields:
            raise bad_request(f"'{name}' is unknown or cannot be updated.")
    fields = request.query.values("update_mask") or fields
    if not fields:
        # An empty mask means every field.
        shown = yield from fetch(request, request.path(_ONE))
        return json_reply(CONNECTION(shown))
    if "extra" in fields:
        _check_extra(body)
    whole = {"conn_type": _ANY_TYPE, **body, "connection_id": connection_id}
    answer = yield request.call(whole, [("update_mask", name) for name in fields])
    return shaped(request, answer)


def _test(request: OperationRequest) -> Steps:
    # 3.x fills in the secrets of an existing connection with this id; 2.x tests the given values.
    body = {**request.body, "connection_id": f"test_{secrets.token_hex(8)}"}
    answer = yield request.call(body)
    if answer.status == 403 and b"disabled" in answer.body:
        return Reply(403, _DISABLED, "text/html; charset=utf-8")
    require(request, answer)
    return shaped(request, answer)


OPERATIONS = (
    Operation(
        name="get_connections",
        method="GET",
        path="/connections",
        to=f"GET {_ALL}",
        query=(*PAGE, order("id", connection_id="conn_id", conn_type="", description="", host="", port="", id="")),
        shape=Collection(CONNECTION_LISTED, "connections"),
    ),
    Operation(
        name="post_connection",
        method="POST",
        path="/connections",
        to=f"POST {_ALL}",
        form=_WHOLE,
        shape=CONNECTION,
        code=_post,
    ),
    Operation(
        name="get_connection",
        method="GET",
        path="/connections/{connection_id}",
        to=f"GET {_ONE}",
        shape=CONNECTION,
        missing=_MISSING,
    ),
    Operation(
        name="patch_connection",
        method="PATCH",
        path="/connections/{connection_id}",
        to=f"PATCH {_ONE}",
        query=(MASK,),
        form=Form(_FIELDS),
        shape=CONNECTION,
        code=_patch,
        missing=_MISSING,
    ),
    Operation(
        name="delete_connection",
        method="DELETE",
        path="/connections/{connection_id}",
        to=f"DELETE {_ONE}",
        missing=_MISSING,
    ),
    Operation(
        name="test_connection",
        method="POST",
        path="/connections/test",
        to=f"POST {_ALL}/test",
        form=_WHOLE,
        shape=_TEST,
        code=_test,
    ),
)

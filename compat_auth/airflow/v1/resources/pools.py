"""Pools. No I/O."""

from __future__ import annotations

from compat_auth.airflow.v1.mappers.stored import POOL
from compat_auth.airflow.v1.messages import Call, Json, Steps, json_reply
from compat_auth.airflow.v1.operation import V2, Collection, Operation, OperationRequest, pages, require, shaped
from compat_auth.airflow.v1.problems import V1Problem, bad_request
from compat_auth.airflow.v1.validation.forms import BOOLEAN, INTEGER, OPTIONAL, READ_ONLY, STRING, Form
from compat_auth.airflow.v1.validation.query import LIMIT, MASK, OFFSET, Kind, Parameter

_ALL = f"{V2}/pools"
_ONE = f"{_ALL}/{{pool_name}}"
_DEFAULT = "default_pool"
_MISSING = ("", "Pool with name:'{pool_name}' not found")
_OWN = ("name", "slots", "description", "include_deferred")
_FORM = Form(
    {
        **dict.fromkeys(POOL.fields, READ_ONLY),
        "name": STRING,
        "slots": INTEGER,
        "description": OPTIONAL,
        "include_deferred": BOOLEAN,
    }
)
_ORDER = Parameter("order_by", Kind.ORDER, "", values={"name": "name", "slots": "slots", "id": "id"})


def _require_fields(body: Json) -> None:
    missing = sorted({"name", "slots"} - body.keys())
    if missing:
        raise bad_request(f"Missing required property(ies): {missing}")


def _list(request: OperationRequest) -> Steps:
    wanted = request.query.value("order_by") or "id"
    if wanted.lstrip("-") != "slots":
        return shaped(request, (yield request.call(query=[*request.query.sent, ("order_by", wanted)])))
    # 3.x cannot order by this field, and there are few pools.
    found, total, answer = yield from pages(_ALL, [], "pools")
    require(request, answer)
    found.sort(key=lambda pool: int(pool["slots"]), reverse=wanted.startswith("-"))
    offset, limit = request.query.number("offset", 0), request.query.number("limit", 100)
    return json_reply({"pools": [POOL(pool) for pool in found[offset : offset + limit]], "total_entries": total})


def _post(request: OperationRequest) -> Steps:
    _require_fields(request.body)
    answer = yield request.call(request.body)
    if answer.status == 409:
        raise V1Problem(409, f"Pool: {request.body['name']} already exists")
    return shaped(request, answer)


def _patch(request: OperationRequest) -> Steps:
    """Change the client's fields: 3.x needs every field in the body, even with a mask."""
    name, body = request.named("pool_name"), request.body
    mask = request.query.values("update_mask")
    if name == _DEFAULT and body.get("name") != _DEFAULT and not (mask and set(mask) <= {"slots", "include_deferred"}):
        raise bad_request("Default Pool's name can't be modified")
    if mask:
        fields = list(mask)
        for field in fields:
            if field not in POOL.fields:
                raise bad_request(f"Invalid field: {field} in update mask")
            if field not in body:
                raise bad_request(f"update_mask names {field!r}, which is not in the body")
    else:
        _require_fields(body)
        # 2.11 treats a missing boolean as false.
        fields = [field for field in _OWN if field in body or field == "include_deferred"]
    if "name" in fields and body["name"] != name:
        raise bad_request("Airflow 3 does not rename a pool: create another and delete this one")
    fields = [field for field in fields if field != "name"]
    if not fields:
        return shaped(request, (yield Call("GET", request.path(_ONE))))
    whole: Json = {"pool": name, "slots": body.get("slots", 1), "include_deferred": body.get("include_deferred", False)}
    if "description" in body:
        whole["description"] = body["description"]
    if name == _DEFAULT:
        whole = {field: whole[field] for field in ("slots", "include_deferred")}
        fields = [field for field in fields if field in whole]
    return shaped(request, (yield request.call(whole, [("update_mask", field) for field in fields])))


def _delete(request: OperationRequest) -> Steps:
    if request.named("pool_name") == _DEFAULT:
        raise bad_request("Default Pool can't be deleted")
    return shaped(request, (yield request.call()))


OPERATIONS = (
    Operation(
        name="get_pools",
        method="GET",
        path="/pools",
        to=f"GET {_ALL}",
        query=(LIMIT, OFFSET, _ORDER),
        shape=Collection(POOL, "pools"),
        code=_list,
    ),
    Operation(
        name="post_pool",
        method="POST",
        path="/pools",
        to=f"POST {_ALL}",
        form=_FORM,
        shape=POOL,
        code=_post,
    ),
    Operation(
        name="get_pool",
        method="GET",
        path="/pools/{pool_name}",
        to=f"GET {_ONE}",
        shape=POOL,
        missing=_MISSING,
    ),
    Operation(
        name="patch_pool",
        method="PATCH",
        path="/pools/{pool_name}",
        to=f"PATCH {_ONE}",
        query=(MASK,),
        form=_FORM,
        shape=POOL,
        code=_patch,
        missing=_MISSING,
    ),
    Operation(
        name="delete_pool",
        method="DELETE",
        path="/pools/{pool_name}",
        to=f"DELETE {_ONE}",
        code=_delete,
        missing=_MISSING,
    ),
)

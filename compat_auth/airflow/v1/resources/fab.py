"""Users, roles and permissions, from FAB's own API. No I/O."""

from __future__ import annotations

from compat_auth.airflow.v1.mappers.mapper import Mapper
from compat_auth.airflow.v1.messages import JSON, Json, Reply, Steps, json_reply
from compat_auth.airflow.v1.operation import Collection, Operation, OperationRequest, forward, pages, require
from compat_auth.airflow.v1.problems import bad_request
from compat_auth.airflow.v1.validation.forms import LIST, READ_ONLY, STRING, Form
from compat_auth.airflow.v1.validation.query import MASK, PAGE, text

_FAB = "/auth/fab/v1"
_ROLE = Mapper(name="Role", same=("name", "actions"))
# FAB writes these dates without a zone in both versions.
_USER = Mapper(
    name="UserCollectionItem",
    same=(
        "first_name",
        "last_name",
        "username",
        "email",
        "active",
        "last_login",
        "login_count",
        "fail_login_count",
        "roles",
        "created_on",
        "changed_on",
    ),
)
_ROLE_FORM = Form({"name": STRING, "actions": LIST})
_USER_FIELDS = {
    **dict.fromkeys(
        ["active", "last_login", "login_count", "failed_login_count", "fail_login_count", "created_on", "changed_on"],
        READ_ONLY,
    ),
    **dict.fromkeys(["first_name", "last_name", "username", "email", "password"], STRING),
    "roles": LIST,
}
_ROLE_ORDERS = {"role_id": "role_id", "name": "name"}
_USER_ORDERS = {
    "id": "id",
    "first_name": "first_name",
    "last_name": "last_name",
    "user_name": "username",
    "email": "email",
    "is_active": "active",
}
_NAMES = ("first_name", "last_name", "username", "email")
_ROLE_MISSING = ("Role not found", "Role with name '{role_name}' was not found")
_USER_MISSING = ("User not found", "The User with username `{username}` was not found")


def _delete(request: OperationRequest) -> Steps:
    answer = yield request.call()
    require(request, answer)
    return Reply(204, b"", JSON)


def _masked(request: OperationRequest) -> Steps:
    mask = request.query.values("update_mask")
    # FAB expects one text with commas.
    return (yield from forward(request, request.body, [("update_mask", ",".join(mask))] if mask else []))


def _permissions(request: OperationRequest) -> Steps:
    """List the distinct actions: FAB 3 lists each one once per resource, FAB 2 lists them like 2.x."""
    found, _, answer = yield from pages(f"{_FAB}/permissions", [], "actions")
    require(request, answer)
    names: dict[str, None] = {}
    for permission in found:
        action: Json = permission.get("action", permission)
        names[action["name"]] = None
    listed = [{"name": name} for name in names]
    offset, limit = request.query.number("offset", 0), request.query.number("limit", 100)
    return json_reply({"actions": listed[offset : offset + limit], "total_entries": len(listed)})


def _ordered(request: OperationRequest) -> Steps:
    """List in ascending order: 2.x rejects any other order."""
    wanted = request.query.value("order_by")
    allowed = _ROLE_ORDERS if request.operation.name == "get_roles" else _USER_ORDERS
    if wanted is not None and wanted not in allowed:
        raise bad_request(f"Ordering with '{wanted}' is disallowed or the attribute does not exist on the model")
    query = request.query.sent if wanted is None else [*request.query.sent, ("order_by", allowed[wanted])]
    return (yield from forward(request, query=query))


OPERATIONS = (
    Operation(
        name="get_roles",
        method="GET",
        path="/roles",
        to=f"GET {_FAB}/roles",
        query=(*PAGE, text("order_by", "")),
        shape=Collection(_ROLE, "roles"),
        code=_ordered,
        fab=True,
    ),
    Operation(
        name="post_role",
        method="POST",
        path="/roles",
        to=f"POST {_FAB}/roles",
        form=Form(_ROLE_FORM.fields, ("name",)),
        shape=_ROLE,
        fab=True,
    ),
    Operation(
        name="get_role",
        method="GET",
        path="/roles/{role_name}",
        to=f"GET {_FAB}/roles/{{role_name}}",
        shape=_ROLE,
        fab=True,
        missing=_ROLE_MISSING,
    ),
    Operation(
        name="patch_role",
        method="PATCH",
        path="/roles/{role_name}",
        to=f"PATCH {_FAB}/roles/{{role_name}}",
        query=(MASK,),
        form=_ROLE_FORM,
        shape=_ROLE,
        code=_masked,
        fab=True,
        missing=_ROLE_MISSING,
    ),
    Operation(
        name="delete_role",
        method="DELETE",
        path="/roles/{role_name}",
        to=f"DELETE {_FAB}/roles/{{role_name}}",
        code=_delete,
        fab=True,
        missing=_ROLE_MISSING,
    ),
    Operation(
        name="get_permissions",
        method="GET",
        path="/permissions",
        to=f"GET {_FAB}/permissions",
        query=PAGE,
        code=_permissions,
        fab=True,
    ),
    Operation(
        name="get_users",
        method="GET",
        path="/users",
        to=f"GET {_FAB}/users",
        query=(*PAGE, text("order_by", "")),
        shape=Collection(_USER, "users"),
        code=_ordered,
        fab=True,
    ),
    Operation(
        name="post_user",
        method="POST",
        path="/users",
        to=f"POST {_FAB}/users",
        form=Form(_USER_FIELDS, _NAMES),
        shape=_USER,
        fab=True,
    ),
    Operation(
        name="get_user",
        method="GET",
        path="/users/{username}",
        to=f"GET {_FAB}/users/{{username}}",
        shape=_USER,
        fab=True,
        missing=_USER_MISSING,
    ),
    Operation(
        name="patch_user",
        method="PATCH",
        path="/users/{username}",
        to=f"PATCH {_FAB}/users/{{username}}",
        query=(MASK,),
        form=Form(_USER_FIELDS, _NAMES),
        shape=_USER,
        code=_masked,
        fab=True,
        missing=_USER_MISSING,
    ),
    Operation(
        name="delete_user",
        method="DELETE",
        path="/users/{username}",
        to=f"DELETE {_FAB}/users/{{username}}",
        code=_delete,
        fab=True,
        missing=_USER_MISSING,
    ),
)

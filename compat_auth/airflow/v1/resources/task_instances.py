"""Task instances: read and list them, their tries and their dependencies. No I/O."""

from __future__ import annotations

from compat_auth.airflow.v1.mappers.runs import DEPENDENCIES, TASK_INSTANCE, TASK_STATES, TRY
from compat_auth.airflow.v1.messages import Call, Json, Steps, json_reply
from compat_auth.airflow.v1.operation import (
    V2,
    Collection,
    Operation,
    OperationRequest,
    forward,
    pages,
    require,
    shaped,
)
from compat_auth.airflow.v1.problems import bad_request, message_of, not_found
from compat_auth.airflow.v1.validation.forms import DATE, LIST, Field, Form
from compat_auth.airflow.v1.validation.query import (
    MAX_PAGE,
    OFFSET,
    dates,
    integer,
    listed,
    number,
    text,
)

_DAG = f"{V2}/dags/{{dag_id}}"
_RUN = f"{_DAG}/dagRuns/{{dag_run_id}}"
_MANY = f"{_RUN}/taskInstances"
_ONE = f"{_MANY}/{{task_id}}"
_MAPPED = f"{_ONE}/{{map_index}}"
_BATCH = f"{V2}/dags/~/dagRuns/~/taskInstances/list"
_V1_ONE = "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}"
_V1_MAPPED = f"{_V1_ONE}/{{map_index}}"
# "none" selects instances without a state; a state that 3.x does not know matches nothing.
_STATES = {**{state: state for state in TASK_STATES}, "none": "none"}
_NOT_FOUND = ("Task instance not found", None)
_NOTE_MISSING = (
    "Task Instance not found for dag_id={dag_id}, run_id={dag_run_id}, task_id={task_id}",
    None,
)
_RANGES = (
    *dates("execution_date", "start_date", "end_date", "updated_at"),
    number("duration_gte"),
    number("duration_lte"),
)
_FILTERS = (listed("state", values=_STATES), listed("pool"), listed("queue"), listed("executor"))
# The page length that we send in a body, where 3.x has no maximum.
MAX_BATCH = 1_000_000
# 2.x has no maximum here, and 0 means 0.
_ANY_LIMIT = integer("limit", "")
_LIST_RANGES = ("execution_date", "start_date", "end_date")
_BATCH_FORM = Form(
    {
        "page_offset": Field("integer", minimum=0),
        "page_limit": Field("integer", minimum=1),
        **dict.fromkeys(["dag_ids", "dag_run_ids", "task_ids", "state", "pool", "queue", "executor"], LIST),
        **{f"{name}_{end}": DATE for name in _LIST_RANGES for end in ("gte", "lte")},
        "duration_gte": Field("number"),
        "duration_lte": Field("number"),
    }
)


def _list(request: OperationRequest) -> Steps:
    """List task instances: 2.x returns the requested number, 3.x at most a hundred at once."""
    if request.segments["dag_id"] == "~" and request.segments["dag_run_id"] != "~":
        # 3.x does not accept a run of "any DAG" in a path, only in a body.
        return (yield from _list_of_run(request))
    return (yield from _read(request, request.query.without("offset")))


def _list_mapped(request: OperationRequest) -> Steps:
    wanted = request.query.value("order_by")
    query = request.query.without("offset")
    if wanted is not None:
        if wanted.lstrip("-") not in ("state", "duration", "start_date", "end_date") and wanted != "-map_index":
            raise bad_request(f"Ordering with '{wanted}' is not supported")
        query.append(("order_by", wanted))
    return (yield from _read(request, query))


def _limit(request: OperationRequest) -> int | None:
    """Return the limit; None if it is negative, because 2.11's database then returns all."""
    limit = request.query.number("limit", MAX_PAGE)
    return limit if limit >= 0 else None


def _read(request: OperationRequest, query: list[tuple[str, str]]) -> Steps:
    limit, offset = _limit(request), request.query.number("offset", 0)
    if request.query.finds_nothing:
        return json_reply({"task_instances": [], "total_entries": 0})
    path = request.path(request.operation.to.partition(" ")[2])
    found, total, answer = yield from pages(path, query, "task_instances", offset=offset, limit=limit)
    shape = request.operation.shape
    if answer.status == 404 and isinstance(shape, Collection) and not shape.empty_when_missing:
        raise not_found(message_of(answer) or "")
    if not answer.is_success:
        return shaped(request, answer)
    if not isinstance(shape, Collection):
        raise TypeError(request.operation.name)
    return json_reply(shape.document({"task_instances": found, "total_entries": total}, request))


def _list_of_run(request: OperationRequest) -> Steps:
    limit = _limit(request)
    if request.query.finds_nothing:
        return json_reply({"task_instances": [], "total_entries": 0})
    body: Json = {
        "dag_run_ids": [request.named("dag_run_id")],
        "page_offset": request.query.number("offset", 0),
        "page_limit": MAX_BATCH if limit is None else limit or 1,
    }
    for name, value in request.query.without("offset"):
        if name.startswith("updated_at"):
            raise bad_request(f"{name}: Airflow 3 cannot filter the runs of all DAGs by it")
        if name.startswith("duration"):
            body[name] = float(value)
        elif name.endswith(("_gte", "_lte")):
            body[name] = value
        else:
            body.setdefault(name, []).append(None if (name, value) == ("state", "none") else value)
    answer = yield Call("POST", _BATCH, body=body)
    require(request, answer)
    found = answer.json()
    instances = [] if limit == 0 else [TASK_INSTANCE(each) for each in found["task_instances"]]
    return json_reply({"task_instances": instances, "total_entries": found["total_entries"]})


def _batch(request: OperationRequest) -> Steps:
    given = {name.replace("execution_date", "logical_date"): value for name, value in request.body.items()}
    given.setdefault("page_limit", MAX_PAGE)
    states = given.pop("state", None)
    if states:
        known = [state for state in states if state is None or state in _STATES]
        given["state"] = [None if state == "none" else state for state in known]
        if not given["state"]:
            return json_reply({"task_instances": [], "total_entries": 0})
    return (yield from forward(request, given))


def _show(request: OperationRequest) -> Steps:
    answer = yield request.call()
    if answer.status == 404 and "mapped" in (message_of(answer) or ""):
        raise not_found("Task instance not found", "Task instance is mapped, add the map_index value to the URL")
    return shaped(request, answer)


_TRY_TITLE = "Task instance not found"
_TRY_DETAIL = (
    "Task Instance not found for dag_id={{dag_id}}, run_id={{dag_run_id}}, task_id={{task_id}}, map_index={}, "
    "try_number={{task_try_number}}."
)
_TRY_QUERY = (integer("limit", ""), integer("offset", ""), text("order_by", ""))
_TRIES = Collection(TRY, "task_instances", empty_when_missing=True)


def _tries(request: OperationRequest) -> Steps:
    answer = yield request.call(query=[])
    return shaped(request, answer)


OPERATIONS = (
    Operation(
        name="get_task_instances",
        method="GET",
        path="/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances",
        to=f"GET {_MANY}",
        query=(*_RANGES, *_FILTERS, _ANY_LIMIT, OFFSET),
        shape=Collection(TASK_INSTANCE, "task_instances", empty_when_missing=True),
        code=_list,
    ),
    Operation(
        name="get_mapped_task_instances",
        method="GET",
        path=f"{_V1_ONE}/listMapped",
        to=f"GET {_ONE}/listMapped",
        query=(_ANY_LIMIT, OFFSET, *_RANGES, *_FILTERS, text("order_by", "")),
        shape=Collection(TASK_INSTANCE, "task_instances"),
        code=_list_mapped,
    ),
    Operation(
        name="get_task_instances_batch",
        method="POST",
        path="/dags/~/dagRuns/~/taskInstances/list",
        to=f"POST {_BATCH}",
        form=_BATCH_FORM,
        shape=Collection(TASK_INSTANCE, "task_instances"),
        code=_batch,
    ),
    Operation(
        name="get_task_instance",
        method="GET",
        path=_V1_ONE,
        to=f"GET {_ONE}",
        shape=TASK_INSTANCE,
        code=_show,
        missing=_NOT_FOUND,
    ),
    Operation(
        name="get_mapped_task_instance",
        method="GET",
        path=_V1_MAPPED,
        to=f"GET {_MAPPED}",
        shape=TASK_INSTANCE,
        missing=_NOT_FOUND,
    ),
    Operation(
        name="get_task_instance_dependencies",
        method="GET",
        path=f"{_V1_ONE}/dependencies",
        to=f"GET {_ONE}/dependencies",
        shape=DEPENDENCIES,
        missing=_NOTE_MISSING,
    ),
    Operation(
        name="get_mapped_task_instance_dependencies",
        method="GET",
        path=f"{_V1_MAPPED}/dependencies",
        to=f"GET {_MAPPED}/dependencies",
        shape=DEPENDENCIES,
        missing=_NOTE_MISSING,
    ),
    Operation(
        name="get_task_instance_tries",
        method="GET",
        path=f"{_V1_ONE}/tries",
        to=f"GET {_ONE}/tries",
        query=_TRY_QUERY,
        shape=_TRIES,
        code=_tries,
    ),
    Operation(
        name="get_mapped_task_instance_tries",
        method="GET",
        path=f"{_V1_MAPPED}/tries",
        to=f"GET {_MAPPED}/tries",
        query=_TRY_QUERY,
        shape=_TRIES,
        code=_tries,
    ),
    Operation(
        name="get_task_instance_try_details",
        method="GET",
        path=f"{_V1_ONE}/tries/{{task_try_number}}",
        to=f"GET {_ONE}/tries/{{task_try_number}}",
        shape=TRY,
        missing=(_TRY_TITLE, _TRY_DETAIL.format("-1")),
    ),
    Operation(
        name="get_mapped_task_instance_try_details",
        method="GET",
        path=f"{_V1_MAPPED}/tries/{{task_try_number}}",
        to=f"GET {_MAPPED}/tries/{{task_try_number}}",
        shape=TRY,
        missing=(_TRY_TITLE, _TRY_DETAIL.format("{map_index}")),
    ),
)

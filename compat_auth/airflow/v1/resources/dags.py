"""DAGs, their tasks, files and statistics. No I/O."""

from __future__ import annotations

from compat_auth.airflow.v1.mappers.dags import DAG, DAG_DETAILS, DAG_FILE, DAG_WARNING, TASK
from compat_auth.airflow.v1.mappers.etags import unpack
from compat_auth.airflow.v1.messages import TEXT, Call, Json, Reply, Steps, accepted, json_reply, text_reply
from compat_auth.airflow.v1.operation import (
    V2,
    Collection,
    Operation,
    OperationRequest,
    fetch,
    forward,
    missing,
    require,
    shaped,
)
from compat_auth.airflow.v1.problems import V1Problem, bad_request, not_found
from compat_auth.airflow.v1.validation.forms import READ_ONLY, Field, Form
from compat_auth.airflow.v1.validation.query import FIELDS, MASK, PAGE, Kind, Parameter, boolean, listed, order, text

_DAGS = f"{V2}/dags"
_DAG = f"{_DAGS}/{{dag_id}}"
_DAG_MISSING = ("DAG not found", "The DAG with dag_id: {dag_id} was not found")
_ACTIVE = Parameter("only_active", Kind.BOOLEAN, "exclude_stale", "true")
_PATTERN = text("dag_id_pattern")
# The fields of a DAG that a client may send; it can change only one of them.
_PATCH = Form(
    {
        **dict.fromkeys(DAG.fields, READ_ONLY),
        "is_paused": Field("boolean", null=True),
    }
)
_RUN_STATES = ("queued", "running", "success", "failed")


def _check_fields(request: OperationRequest) -> None:
    fields = request.query.values("fields")
    shape = request.operation.shape
    mapper = shape.mapper if isinstance(shape, Collection) else shape
    unknown = [name for name in fields or () if mapper is not None and name not in mapper.fields]
    if unknown:
        name = "DAGSchema" if mapper is DAG else "DAGDetailSchema"
        title = "DAGCollectionSchema error" if isinstance(shape, Collection) else f"{name} init error"
        raise bad_request(f"Invalid fields for <{name}(many=False)>: OrderedSet({unknown}).", title)


def _show(request: OperationRequest) -> Steps:
    _check_fields(request)
    return (yield from forward(request))


def _paused(request: OperationRequest) -> Json:
    mask = request.query.values("update_mask")
    if mask and mask != ["is_paused"]:
        raise bad_request("Only `is_paused` field can be updated through the REST API")
    if request.body.get("is_paused") is None:
        raise bad_request("{'is_paused': ['Missing data for required field.']}")
    return {"is_paused": request.body["is_paused"]}


def _patch(request: OperationRequest) -> Steps:
    return (yield from forward(request, _paused(request), [("update_mask", "is_paused")]))


def _patch_all(request: OperationRequest) -> Steps:
    return (yield from forward(request, _paused(request), [*request.query.sent, ("update_mask", "is_paused")]))


def _tasks(request: OperationRequest) -> Steps:
    wanted = request.query.value("order_by") or "task_id"
    name = wanted.lstrip("-")
    answer = yield request.call()
    require(request, answer)
    tasks = [TASK(task) for task in answer.json()["tasks"]]
    if name not in TASK.fields:
        raise bad_request(f"'SerializedBaseOperator' object has no attribute {name!r}")
    try:
        # A task without a value comes first, because it does not compare with the others.
        tasks.sort(key=lambda task: (task[name] is not None, task[name]), reverse=wanted.startswith("-"))
    except TypeError:
        raise bad_request(f"tasks cannot be ordered by {name!r}") from None
    return json_reply({"tasks": tasks, "total_entries": len(tasks)})


def _task(request: OperationRequest) -> Steps:
    answer = yield request.call()
    if answer.status == 404:
        dag = yield Call("GET", request.path(_DAG))
        raise not_found("DAG not found" if dag.status == 404 else "Task not found")
    return shaped(request, answer)


def _stats(request: OperationRequest) -> Steps:
    wanted = list(dict.fromkeys(filter(None, (request.query.value("dag_ids") or "").split(","))))
    if not wanted:
        return json_reply({"dags": [], "total_entries": 0})
    answer = yield Call("GET", f"{V2}/dagStats", tuple(("dag_ids", dag_id) for dag_id in wanted))
    require(request, answer)
    found = {row["dag_id"]: row["stats"] for row in answer.json()["dags"]}
    for dag_id in wanted:
        if dag_id not in found:
            # 3.x omits a DAG that has never run.
            known = yield Call("GET", request.path(_DAG, dag_id=dag_id))
            if known.is_success:
                found[dag_id] = []
    rows: list[Json] = []
    for dag_id in filter(found.__contains__, wanted):
        counts = {row["state"]: row["count"] for row in found[dag_id]}
        rows.append(
            {"dag_id": dag_id, "stats": [{"state": state, "count": counts.get(state, 0)} for state in _RUN_STATES]}
        )
    return json_reply({"dags": rows, "total_entries": len(rows)})


def _source(request: OperationRequest) -> Steps:
    kind = accepted(request.accept, (TEXT, "application/json"))
    dag_id = unpack(DAG_FILE, request.named("file_token"))
    if dag_id is None:
        raise missing(request)
    answer = yield Call("GET", request.path(f"{V2}/dagSources/{{dag_id}}", dag_id=dag_id))
    require(request, answer)
    content = answer.json().get("content") or ""
    if kind is None:
        return Reply(406, b"Not Allowed Accept Header", "text/html; charset=utf-8")
    return text_reply(content) if kind == TEXT else json_reply({"content": content})


def _reparse(request: OperationRequest) -> Steps:
    dag_id = unpack(DAG_FILE, request.named("file_token"))
    if dag_id is None:
        raise missing(request)
    dag = yield from fetch(request, request.path(_DAG, dag_id=dag_id))
    answer = yield Call("PUT", request.path(f"{V2}/parseDagFile/{{file_token}}", file_token=dag["file_token"]))
    if answer.status == 409:
        return Reply(201, b"Duplicate request", "text/html; charset=utf-8")
    require(request, answer)
    return Reply(201, b"", "text/html; charset=utf-8")


def _warnings(request: OperationRequest) -> Steps:
    answer = yield request.call()
    if answer.status == 422 and request.query.value("warning_type") is not None:
        # The upstream does not know this type: there are no warnings of it.
        return json_reply({"dag_warnings": [], "total_entries": 0})
    return shaped(request, answer)


def _delete(request: OperationRequest) -> Steps:
    answer = yield request.call()
    if answer.status == 409:
        raise V1Problem(409, f"Task instances of dag with id: '{request.named('dag_id')}' are still running")
    return shaped(request, answer)


OPERATIONS = (
    Operation(
        name="get_dags",
        method="GET",
        path="/dags",
        to=f"GET {_DAGS}",
        query=(*PAGE, order("dag_id", dag_id=""), listed("tags"), _ACTIVE, boolean("paused"), FIELDS, _PATTERN),
        shape=Collection(DAG, "dags"),
        code=_show,
    ),
    Operation(
        name="patch_dags",
        method="PATCH",
        path="/dags",
        to=f"PATCH {_DAGS}",
        query=(*PAGE, listed("tags"), MASK, _ACTIVE, text("dag_id_pattern", required=True)),
        form=_PATCH,
        shape=Collection(DAG, "dags"),
        code=_patch_all,
    ),
    Operation(
        name="get_dag",
        method="GET",
        path="/dags/{dag_id}",
        to=f"GET {_DAG}",
        query=(FIELDS,),
        shape=DAG,
        code=_show,
        missing=_DAG_MISSING,
    ),
    Operation(
        name="patch_dag",
        method="PATCH",
        path="/dags/{dag_id}",
        to=f"PATCH {_DAG}",
        query=(MASK,),
        form=_PATCH,
        shape=DAG,
        code=_patch,
        missing=("Dag with id: '{dag_id}' not found", None),
    ),
    Operation(
        name="delete_dag",
        method="DELETE",
        path="/dags/{dag_id}",
        to=f"DELETE {_DAG}",
        code=_delete,
        missing=("Dag with id: '{dag_id}' not found", None),
    ),
    Operation(
        name="get_dag_details",
        method="GET",
        path="/dags/{dag_id}/details",
        to=f"GET {_DAG}/details",
        query=(FIELDS,),
        shape=DAG_DETAILS,
        code=_show,
        missing=_DAG_MISSING,
    ),
    Operation(
        name="get_tasks",
        method="GET",
        path="/dags/{dag_id}/tasks",
        to=f"GET {_DAG}/tasks",
        query=(text("order_by", ""),),
        shape=Collection(TASK, "tasks"),
        code=_tasks,
        missing=("DAG not found", None),
    ),
    Operation(
        name="get_task",
        method="GET",
        path="/dags/{dag_id}/tasks/{task_id}",
        to=f"GET {_DAG}/tasks/{{task_id}}",
        shape=TASK,
        code=_task,
    ),
    Operation(
        name="get_dag_stats",
        method="GET",
        path="/dagStats",
        to=f"GET {V2}/dagStats",
        query=(text("dag_ids", "", required=True),),
        code=_stats,
    ),
    Operation(
        name="get_dag_source",
        method="GET",
        path="/dagSources/{file_token}",
        to=f"GET {V2}/dagSources/{{dag_id}}",
        code=_source,
        missing=("Dag source not found", None),
    ),
    Operation(
        name="reparse_dag_file",
        method="PUT",
        path="/parseDagFile/{file_token}",
        to=f"PUT {V2}/parseDagFile/{{file_token}}",
        code=_reparse,
        missing=("File not found", None),
    ),
    Operation(
        name="get_dag_warnings",
        method="GET",
        path="/dagWarnings",
        to=f"GET {V2}/dagWarnings",
        query=(
            text("dag_id"),
            text("warning_type"),
            *PAGE,
            order("timestamp", dag_id="", warning_type="", message="", timestamp=""),
        ),
        shape=Collection(DAG_WARNING, "dag_warnings"),
        code=_warnings,
    ),
)

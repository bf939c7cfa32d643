"""Changes task instances: set states, set notes, clear. No I/O."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from compat_auth.airflow.v1.mappers.dates import format_date, parse_date
from compat_auth.airflow.v1.mappers.runs import REFERENCE, TASK_INSTANCE
from compat_auth.airflow.v1.messages import Answer, Call, Json, Steps, json_reply
from compat_auth.airflow.v1.operation import (
    V2,
    Collection,
    Operation,
    OperationRequest,
    fetch,
    missing,
    require,
)
from compat_auth.airflow.v1.problems import V1Problem, bad_request, message_of, not_found
from compat_auth.airflow.v1.validation.forms import BOOLEAN, DATE, INTEGER, LIST, OPTIONAL, STRING, Field, Form

_DAG = f"{V2}/dags/{{dag_id}}"
_RUN = f"{_DAG}/dagRuns/{{dag_run_id}}"
_ONE = f"{_RUN}/taskInstances/{{task_id}}"
_MAPPED = f"{_ONE}/{{map_index}}"
_V1_ONE = "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}"
_V1_MAPPED = f"{_V1_ONE}/{{map_index}}"
_NEW_STATE = Field(choices=("success", "failed", "skipped"))
_ONE_STATE = Form({"dry_run": BOOLEAN, "new_state": _NEW_STATE}, required=("new_state",))
_NOTE = Form({"note": STRING, "map_index": INTEGER}, described_as_required=("note",))
_NOTE_MISSING = (
    "Task Instance not found for dag_id={dag_id}, run_id={dag_run_id}, task_id={task_id}",
    None,
)
_PATCH_MISSING = ("", "Task instance not found for task '{task_id}' on DAG run with ID '{dag_run_id}'")
_RELATIVES = ("include_upstream", "include_downstream", "include_future", "include_past")
_SET_STATES = Form(
    {
        "dry_run": BOOLEAN,
        "task_id": STRING,
        "execution_date": DATE,
        "dag_run_id": STRING,
        **dict.fromkeys(_RELATIVES, BOOLEAN),
        "new_state": _NEW_STATE,
    },
    required=("task_id", *_RELATIVES, "new_state"),
)


def _one_only(request: OperationRequest) -> list[tuple[str, str]]:
    """Return the query that limits a change to the unmapped instance: without it 3.x changes every map index."""
    return [] if "map_index" in request.segments else [("map_index", "-1")]


def _set_note(request: OperationRequest) -> Steps:
    query = [*_one_only(request), ("update_mask", "note")]
    answer = yield request.call({"note": request.body["note"]}, query)
    require(request, answer)
    return json_reply(TASK_INSTANCE(_changed(answer)[0]))


def _changed(answer: Answer) -> list[Json]:
    """Return the changed instances: 3.0 returns one object instead of a list."""
    document: Json = answer.json()
    found: list[Json] = document.get("task_instances", [document])
    return found


def _patch(request: OperationRequest) -> Steps:
    template = request.operation.to.partition(" ")[2]
    dry_run = request.body.get("dry_run", True)
    path = request.path(template) + ("/dry_run" if dry_run else "")
    state = request.body["new_state"]
    answer = yield Call("PATCH", path, (*_one_only(request), ("update_mask", "new_state")), {"new_state": state})
    found: list[Json] = []
    if answer.status == 404:
        raise (yield from what_is_missing(request, request.named("task_id")))
    if answer.status != 409:
        require(request, answer)
        found = _changed(answer)
    if not found:
        # The instance already has this state: 2.x returns success and changes nothing.
        shown = yield from fetch(request, request.path(template))
        found = [shown]
    return json_reply(REFERENCE(found[0]))


def _set_states(request: OperationRequest) -> Steps:
    """Set the state of an instance and its relatives; 3.x lists the relatives only in a dry run."""
    given = request.body
    task_id = given["task_id"]
    if ("execution_date" in given) == ("dag_run_id" in given):
        raise bad_request("{'_schema': ['Exactly one of execution_date or dag_run_id must be provided']}")
    run_id = given.get("dag_run_id")
    if run_id is None:
        run_id = yield from _run_on(request, given["execution_date"])
    if run_id is None:
        date = given["execution_date"]
        problem = yield from _no_such_task(request, task_id)
        if problem is not None:
            raise problem
        raise not_found(detail=f"Task instance not found for task {task_id!r} on execution_date {date}")
    body = {"new_state": given["new_state"], **{name: given[name] for name in _RELATIVES}}
    path = request.path(_ONE, dag_run_id=run_id, task_id=task_id)
    query = (("map_index", "-1"), ("update_mask", "new_state"))
    answer = yield Call("PATCH", f"{path}/dry_run", query, body)
    if answer.status == 409:
        return json_reply({"task_instances": []})
    if answer.status == 404:
        problem = yield from _no_such_task(request, task_id)
        detail = f"Task instance not found for task {task_id!r} on DAG run with ID {run_id!r}"
        raise problem or not_found(detail=detail)
    require(request, answer)
    references = [REFERENCE(each) for each in answer.json()["task_instances"]]
    if not given.get("dry_run", True):
        does = f"set {len(references)} task instances to {given['new_state']}"
        answer = yield Call("PATCH", path, query, body, does=does)
        if answer.status != 409:
            require(request, answer)
    return json_reply({"task_instances": references})


def what_is_missing(request: OperationRequest, task_id: str) -> Generator[Call, Answer, V1Problem]:
    """Return 2.11's 404, which says whether the DAG, the task or the instance is missing."""
    dag_id = request.named("dag_id")
    dag = yield Call("GET", request.path(_DAG))
    if dag.status == 404:
        return not_found("DAG not found", f"DAG {dag_id!r} not found")
    task = yield Call("GET", request.path(f"{_DAG}/tasks/{{task_id}}", task_id=task_id))
    if task.status == 404:
        return not_found("Task not found", f"Task {task_id!r} not found in DAG {dag_id!r}")
    return missing(request)


def _no_such_task(request: OperationRequest, task_id: str) -> Generator[Call, Answer, V1Problem | None]:
    dag = yield Call("GET", request.path(_DAG))
    if dag.status == 404:
        return not_found(f"Dag ID {request.named('dag_id')} not found")
    task = yield Call("GET", request.path(f"{_DAG}/tasks/{{task_id}}", task_id=task_id))
    return not_found(f"Task ID {task_id} not found") if task.status == 404 else None


def _run_on(request: OperationRequest, date: str) -> Generator[Call, Answer, str | None]:
    exact_date = format_date(parse_date(date))
    query = (("logical_date_gte", exact_date), ("logical_date_lte", exact_date), ("limit", "1"))
    answer = yield Call("GET", request.path(f"{_DAG}/dagRuns"), query)
    require(request, answer)
    runs = answer.json()["dag_runs"]
    return runs[0]["dag_run_id"] if runs else None


_CLEAR = Form(
    {
        **dict.fromkeys(
            [
                "dry_run",
                "only_failed",
                "only_running",
                "include_subdags",
                "include_parentdag",
                "reset_dag_runs",
                "include_upstream",
                "include_downstream",
                "include_future",
                "include_past",
            ],
            BOOLEAN,
        ),
        "task_ids": LIST,
        "start_date": DATE,
        "end_date": DATE,
        "dag_run_id": OPTIONAL,
    }
)


def _clear(request: OperationRequest) -> Steps:
    given = dict(request.body)
    # 3.x has no subdags and parent DAGs any more, and rejects unknown fields.
    for name in ("include_subdags", "include_parentdag"):
        given.pop(name, None)
    body: Json = {"dry_run": True, "only_failed": True, "only_running": False, "reset_dag_runs": False, **given}
    _check_clear(body)
    if body.get("dag_run_id") is None:
        body.pop("dag_run_id", None)
        # 2.x clears no future runs by default.
        body["end_date"] = body.get("end_date") or format_date(request.now)
    answer = yield replace(request.call(body), does="clear the task instances")
    if answer.status == 404:
        run_id = str(body.get("dag_run_id", ""))
        # The message names the missing object: the run, or else the DAG.
        is_run = bool(run_id) and run_id in (message_of(answer) or "")
        dag_id = request.named("dag_id")
        raise not_found(f"Dag Run id {run_id} not found in dag {dag_id}" if is_run else f"Dag id {dag_id} not found")
    require(request, answer)
    return json_reply({"task_instances": [REFERENCE(each) for each in answer.json()["task_instances"]]})


def _check_clear(body: Json) -> None:
    start, end, run_id = body.get("start_date"), body.get("end_date"), body.get("dag_run_id")
    if body["only_failed"] and body["only_running"]:
        raise bad_request("{'_schema': ['only_failed and only_running both are set to True']}")
    if start and end and parse_date(start) > parse_date(end):
        raise bad_request("{'_schema': ['end_date is sooner than start_date']}")
    if run_id and (start or end):
        given = "(start_date and end_date)" if start and end else "start_date" if start else "end_date"
        raise bad_request(f"{{'_schema': ['Exactly one of dag_run_id or {given} must be provided']}}")
    if body.get("task_ids") == []:
        raise bad_request("{'task_ids': ['Shorter than minimum length 1.']}")


OPERATIONS = (
    Operation(
        name="patch_task_instance",
        method="PATCH",
        path=_V1_ONE,
        to=f"PATCH {_ONE}",
        form=_ONE_STATE,
        shape=REFERENCE,
        code=_patch,
        missing=_PATCH_MISSING,
    ),
    Operation(
        name="patch_mapped_task_instance",
        method="PATCH",
        path=_V1_MAPPED,
        to=f"PATCH {_MAPPED}",
        form=_ONE_STATE,
        shape=REFERENCE,
        code=_patch,
        missing=_PATCH_MISSING,
    ),
    Operation(
        name="set_task_instance_note",
        method="PATCH",
        path=f"{_V1_ONE}/setNote",
        to=f"PATCH {_ONE}",
        form=_NOTE,
        shape=TASK_INSTANCE,
        code=_set_note,
        missing=_NOTE_MISSING,
    ),
    Operation(
        name="set_mapped_task_instance_note",
        method="PATCH",
        path=f"{_V1_MAPPED}/setNote",
        to=f"PATCH {_MAPPED}",
        form=_NOTE,
        shape=TASK_INSTANCE,
        code=_set_note,
        missing=_NOTE_MISSING,
    ),
    Operation(
        name="post_set_task_instances_state",
        method="POST",
        path="/dags/{dag_id}/updateTaskInstancesState",
        to=f"PATCH {_ONE}",
        form=_SET_STATES,
        shape=Collection(REFERENCE, "task_instances"),
        code=_set_states,
    ),
    Operation(
        name="post_clear_task_instances",
        method="POST",
        path="/dags/{dag_id}/clearTaskInstances",
        to=f"POST {V2}/dags/{{dag_id}}/clearTaskInstances",
        form=_CLEAR,
        shape=Collection(REFERENCE, "task_instances"),
        code=_clear,
    ),
)

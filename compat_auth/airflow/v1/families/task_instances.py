"""Task instances: read, list, set states and notes, clear. No I/O."""

from __future__ import annotations

from collections.abc import Generator

from compat_auth.airflow.v1.dates import parse_date, say_date
from compat_auth.airflow.v1.forms import BOOLEAN, DATE, INTEGER, LIST, OPTIONAL, STRING, Field, Form
from compat_auth.airflow.v1.messages import Answer, Call, Json, Steps, json_reply
from compat_auth.airflow.v1.objects import DEPENDENCIES, REFERENCE, TASK_INSTANCE, TASK_STATES, TRY
from compat_auth.airflow.v1.operation import (
    V2,
    Asked,
    Collection,
    Operation,
    fetch,
    forward,
    missing,
    pages,
    require,
    shaped,
)
from compat_auth.airflow.v1.problems import V1Problem, bad_request, message_of, not_found
from compat_auth.airflow.v1.query import (
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
# 2.x knows no state by the name "none"; a state that 3.x does not know matches nothing.
_STATES = {**{state: state for state in TASK_STATES}, "none": "none"}
_NEW_STATE = Field(choices=("success", "failed", "skipped"))
_ONE_STATE = Form({"dry_run": BOOLEAN, "new_state": _NEW_STATE}, required=("new_state",))
_NOTE = Form({"note": STRING, "map_index": INTEGER}, described_as_required=("note",))
_NOT_FOUND = ("Task instance not found", None)
_NOTE_MISSING = (
    "Task Instance not found for dag_id={dag_id}, run_id={dag_run_id}, task_id={task_id}",
    None,
)
_PATCH_MISSING = ("", "Task instance not found for task '{task_id}' on DAG run with ID '{dag_run_id}'")
_RANGES = (
    *dates("execution_date", "start_date", "end_date", "updated_at"),
    number("duration_gte"),
    number("duration_lte"),
)
_FILTERS = (listed("state", values=_STATES), listed("pool"), listed("queue"), listed("executor"))
# What 3.x takes as the length of a page in a body, which it does not cut down.
MAX_BATCH = 1_000_000
# 2.x does not cut it down to a page, and nought is nought.
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


def _list(asked: Asked) -> Steps:
    """List task instances: 2.x gives as many as are asked for, 3.x a hundred at once."""
    if asked.segments["dag_id"] == "~" and asked.segments["dag_run_id"] != "~":
        # 3.x takes no run of "any DAG" in a path, but in a body.
        return (yield from _list_of_run(asked))
    return (yield from _read(asked, asked.query.without("offset")))


def _list_mapped(asked: Asked) -> Steps:
    wanted = asked.query.value("order_by")
    query = asked.query.without("offset")
    if wanted is not None:
        if wanted.lstrip("-") not in ("state", "duration", "start_date", "end_date") and wanted != "-map_index":
            raise bad_request(f"Ordering with '{wanted}' is not supported")
        query.append(("order_by", wanted))
    return (yield from _read(asked, query))


def _limit(asked: Asked) -> int | None:
    """Return how many at most; none below nought, which 2.11's database takes for all."""
    limit = asked.query.number("limit", MAX_PAGE)
    return limit if limit >= 0 else None


def _read(asked: Asked, query: list[tuple[str, str]]) -> Steps:
    limit, offset = _limit(asked), asked.query.number("offset", 0)
    if asked.query.finds_nothing:
        return json_reply({"task_instances": [], "total_entries": 0})
    path = asked.path(asked.operation.to.partition(" ")[2])
    found, total, answer = yield from pages(path, query, "task_instances", offset=offset, limit=limit)
    shape = asked.operation.shape
    if answer.status == 404 and isinstance(shape, Collection) and not shape.empty_when_missing:
        raise not_found(message_of(answer) or "")
    if not answer.is_success:
        return shaped(asked, answer)
    if not isinstance(shape, Collection):
        raise TypeError(asked.operation.name)
    return json_reply(shape.document({"task_instances": found, "total_entries": total}, asked))


def _list_of_run(asked: Asked) -> Steps:
    limit = _limit(asked)
    if asked.query.finds_nothing:
        return json_reply({"task_instances": [], "total_entries": 0})
    body: Json = {
        "dag_run_ids": [asked.named("dag_run_id")],
        "page_offset": asked.query.number("offset", 0),
        "page_limit": MAX_BATCH if limit is None else limit or 1,
    }
    for name, value in asked.query.without("offset"):
        if name.startswith("updated_at"):
            raise bad_request(f"{name}: 3.x does not filter the runs of any DAG by it")
        if name.startswith("duration"):
            body[name] = float(value)
        elif name.endswith(("_gte", "_lte")):
            body[name] = value
        else:
            body.setdefault(name, []).append(None if (name, value) == ("state", "none") else value)
    answer = yield Call("POST", _BATCH, body=body)
    require(asked, answer)
    found = answer.json()
    instances = [] if limit == 0 else [TASK_INSTANCE(each) for each in found["task_instances"]]
    return json_reply({"task_instances": instances, "total_entries": found["total_entries"]})


def _batch(asked: Asked) -> Steps:
    given = {name.replace("execution_date", "logical_date"): value for name, value in asked.body.items()}
    given.setdefault("page_limit", MAX_PAGE)
    states = given.pop("state", None)
    if states:
        known = [state for state in states if state is None or state in _STATES]
        given["state"] = [None if state == "none" else state for state in known]
        if not given["state"]:
            return json_reply({"task_instances": [], "total_entries": 0})
    return (yield from forward(asked, given))


def _one_only(asked: Asked) -> list[tuple[str, str]]:
    """Return the query that keeps a change to the unmapped instance: without it 3.x changes every index."""
    return [] if "map_index" in asked.segments else [("map_index", "-1")]


def _set_note(asked: Asked) -> Steps:
    query = [*_one_only(asked), ("update_mask", "note")]
    answer = yield asked.call({"note": asked.body["note"]}, query)
    require(asked, answer)
    return json_reply(TASK_INSTANCE(answer.json()["task_instances"][0]))


def _patch(asked: Asked) -> Steps:
    template = asked.operation.to.partition(" ")[2]
    dry_run = asked.body.get("dry_run", True)
    path = asked.path(template) + ("/dry_run" if dry_run else "")
    state = asked.body["new_state"]
    answer = yield Call("PATCH", path, (*_one_only(asked), ("update_mask", "new_state")), {"new_state": state})
    found: list[Json] = []
    if answer.status == 404:
        raise (yield from what_is_missing(asked, asked.named("task_id")))
    if answer.status != 409:
        require(asked, answer)
        found = answer.json()["task_instances"]
    if not found:
        # It is in that state already: 2.x says so by changing nothing.
        shown = yield from fetch(asked, asked.path(template))
        found = [shown]
    return json_reply(REFERENCE(found[0]))


def _show(asked: Asked) -> Steps:
    answer = yield asked.call()
    if answer.status == 404 and "mapped" in (message_of(answer) or ""):
        raise not_found("Task instance not found", "Task instance is mapped, add the map_index value to the URL")
    return shaped(asked, answer)


def _set_states(asked: Asked) -> Steps:
    """Set the state of an instance and its relatives, which 3.x names only when it is asked without doing it."""
    given = asked.body
    task_id = given["task_id"]
    if ("execution_date" in given) == ("dag_run_id" in given):
        raise bad_request("{'_schema': ['Exactly one of execution_date or dag_run_id must be provided']}")
    run_id = given.get("dag_run_id")
    if run_id is None:
        run_id = yield from _run_on(asked, given["execution_date"])
    if run_id is None:
        date = given["execution_date"]
        problem = yield from _no_such_task(asked, task_id)
        if problem is not None:
            raise problem
        raise not_found(detail=f"Task instance not found for task {task_id!r} on execution_date {date}")
    body = {"new_state": given["new_state"], **{name: given[name] for name in _RELATIVES}}
    path = asked.path(_ONE, dag_run_id=run_id, task_id=task_id)
    query = (("map_index", "-1"), ("update_mask", "new_state"))
    answer = yield Call("PATCH", f"{path}/dry_run", query, body)
    if answer.status == 409:
        return json_reply({"task_instances": []})
    if answer.status == 404:
        problem = yield from _no_such_task(asked, task_id)
        detail = f"Task instance not found for task {task_id!r} on DAG run with ID {run_id!r}"
        raise problem or not_found(detail=detail)
    require(asked, answer)
    references = [REFERENCE(each) for each in answer.json()["task_instances"]]
    if not given.get("dry_run", True):
        answer = yield Call("PATCH", path, query, body)
        if answer.status != 409:
            require(asked, answer)
    return json_reply({"task_instances": references})


def what_is_missing(asked: Asked, task_id: str) -> Generator[Call, Answer, V1Problem]:
    """Return 2.11's 404: it says whether the DAG, the task or the instance is not there."""
    dag_id = asked.named("dag_id")
    dag = yield Call("GET", asked.path(_DAG))
    if dag.status == 404:
        return not_found("DAG not found", f"DAG {dag_id!r} not found")
    task = yield Call("GET", asked.path(f"{_DAG}/tasks/{{task_id}}", task_id=task_id))
    if task.status == 404:
        return not_found("Task not found", f"Task {task_id!r} not found in DAG {dag_id!r}")
    return missing(asked)


def _no_such_task(asked: Asked, task_id: str) -> Generator[Call, Answer, V1Problem | None]:
    dag = yield Call("GET", asked.path(_DAG))
    if dag.status == 404:
        return not_found(f"Dag ID {asked.named('dag_id')} not found")
    task = yield Call("GET", asked.path(f"{_DAG}/tasks/{{task_id}}", task_id=task_id))
    return not_found(f"Task ID {task_id} not found") if task.status == 404 else None


def _run_on(asked: Asked, date: str) -> Generator[Call, Answer, str | None]:
    moment = say_date(parse_date(date))
    query = (("logical_date_gte", moment), ("logical_date_lte", moment), ("limit", "1"))
    answer = yield Call("GET", asked.path(f"{_DAG}/dagRuns"), query)
    require(asked, answer)
    runs = answer.json()["dag_runs"]
    return runs[0]["dag_run_id"] if runs else None


def _clear(asked: Asked) -> Steps:
    given = dict(asked.body)
    # There are no such DAGs any more, and 3.x takes no field that it does not know.
    for name in ("include_subdags", "include_parentdag"):
        given.pop(name, None)
    body: Json = {"dry_run": True, "only_failed": True, "only_running": False, "reset_dag_runs": False, **given}
    _check_clear(body)
    if body.get("dag_run_id") is None:
        body.pop("dag_run_id", None)
        # 2.x clears nothing of the future unless it is told to.
        body["end_date"] = body.get("end_date") or say_date(asked.moment)
    answer = yield asked.call(body)
    if answer.status == 404:
        run_id = str(body.get("dag_run_id", ""))
        # The message names what is missing: the run, or else the DAG.
        is_run = bool(run_id) and run_id in (message_of(answer) or "")
        dag_id = asked.named("dag_id")
        raise not_found(f"Dag Run id {run_id} not found in dag {dag_id}" if is_run else f"Dag id {dag_id} not found")
    require(asked, answer)
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


def _tries(asked: Asked) -> Steps:
    answer = yield asked.call(query=[])
    return shaped(asked, answer)


_TRY_TITLE = "Task instance not found"
_TRY_DETAIL = (
    "Task Instance not found for dag_id={{dag_id}}, run_id={{dag_run_id}}, task_id={{task_id}}, map_index={}, "
    "try_number={{task_try_number}}."
)
_TRY_QUERY = (integer("limit", ""), integer("offset", ""), text("order_by", ""))
_TRIES = Collection(TRY, "task_instances", empty_when_missing=True)


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
    Operation(
        name="post_clear_task_instances",
        method="POST",
        path="/dags/{dag_id}/clearTaskInstances",
        to=f"POST {_DAG}/clearTaskInstances",
        form=_CLEAR,
        shape=Collection(REFERENCE, "task_instances"),
        code=_clear,
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
)

"""DAG runs: trigger, list, change, clear. No I/O."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus

from compat_auth.airflow.v1.mappers.datasets import DATASET_EVENT
from compat_auth.airflow.v1.mappers.dates import format_date, parse_date
from compat_auth.airflow.v1.mappers.runs import DAG_RUN, REFERENCE, execution_date
from compat_auth.airflow.v1.messages import Answer, Call, Json, Steps, json_reply
from compat_auth.airflow.v1.operation import (
    V2,
    Collection,
    Operation,
    OperationRequest,
    fetch,
    forward,
    require,
    shaped,
)
from compat_auth.airflow.v1.problems import V1Problem, bad_request
from compat_auth.airflow.v1.validation.forms import BOOLEAN, DATE, LIST, OPTIONAL, READ_ONLY, STRING, Field, Form
from compat_auth.airflow.v1.validation.query import FIELDS, PAGE, dates, listed, order

_RUNS = f"{V2}/dags/{{dag_id}}/dagRuns"
_RUN = f"{_RUNS}/{{dag_run_id}}"
_STATES = {state: state for state in ("queued", "running", "success", "failed")}
_MISSING = (
    "DAGRun not found",
    "DAGRun with DAG ID: '{dag_id}' and DagRun ID: '{dag_run_id}' not found",
)
_NOT_IN_DAG = ("Dag Run id {dag_run_id} not found in dag {dag_id}", None)
_OPTIONAL_DATE = Field("date-time", null=True)
_ORDER = order(
    None,
    id="",
    state="",
    dag_id="",
    execution_date="logical_date",
    dag_run_id="run_id",
    start_date="",
    end_date="",
    updated_at="",
    conf="",
)
_TRIGGER = Form(
    {
        **dict.fromkeys(
            ["dag_id", "start_date", "end_date", "last_scheduling_decision", "run_type", "state", "external_trigger"],
            READ_ONLY,
        ),
        "dag_run_id": OPTIONAL,
        "logical_date": _OPTIONAL_DATE,
        "execution_date": _OPTIONAL_DATE,
        "data_interval_start": _OPTIONAL_DATE,
        "data_interval_end": _OPTIONAL_DATE,
        "conf": Field("object"),
        "note": OPTIONAL,
    }
)
_RANGES = ("execution_date", "start_date", "end_date")
_BATCH = Form(
    {
        "order_by": STRING,
        "page_offset": Field("integer", minimum=0),
        "page_limit": Field("integer", minimum=1),
        "dag_ids": LIST,
        "states": LIST,
        **{f"{name}_{end}": DATE for name in _RANGES for end in ("gte", "lte")},
    }
)


def _check_fields(request: OperationRequest) -> None:
    for name in request.query.values("fields") or ():
        if name not in DAG_RUN.fields:
            title = (
                "DAGRunCollectionSchema error"
                if isinstance(request.operation.shape, Collection)
                else "DAGRunSchema error"
            )
            raise bad_request(f"{name} not in DAGRunSchema", title)


def _show(request: OperationRequest) -> Steps:
    _check_fields(request)
    return (yield from forward(request))


def _trigger(request: OperationRequest) -> Steps:
    """Trigger a run with 2.x's defaults: its date, its id, and no start before its date."""
    given, now = request.body, request.now
    logical_date = _logical_date(given, now)
    run_id = given["dag_run_id"] if "dag_run_id" in given else f"manual__{format_date(logical_date)}"
    if run_id is None:
        raise bad_request("{'dag_run_id': ['Field may not be null.']}")
    body: Json = {"logical_date": format_date(logical_date), "dag_run_id": run_id}
    if logical_date > now:
        # 3.x starts the run at once without this field.
        body["run_after"] = body["logical_date"]
    start, end = given.get("data_interval_start"), given.get("data_interval_end")
    if (start is None) != (end is None):
        raise bad_request(
            "{'_schema': [\"Both 'data_interval_start' and 'data_interval_end' must be specified together\"]}"
        )
    if start is not None:
        body.update(data_interval_start=start, data_interval_end=end)
    # 3.x fails on a null: omit a missing conf.
    body.update({name: given[name] for name in ("conf", "note") if given.get(name) is not None})
    # Without a date and an id, a repeated request gets new ones and so starts a second run.
    is_named = "dag_run_id" in given or logical_date is not now
    answer = yield replace(request.call(body), does=f"start run {run_id!r}", repeatable=is_named)
    if answer.status == 409:
        raise (yield from _conflict(request, run_id, logical_date))
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not is_named:
        # Nobody else knows this id: a run with it was started by this request.
        there = yield Call("GET", request.path(_RUN, dag_run_id=run_id))
        answer = there if there.is_success else answer
    return shaped(request, answer)


def _logical_date(given: Json, now: datetime) -> datetime:
    logical, execution = given.get("logical_date"), given.get("execution_date")
    names = [name for name in ("logical_date", "execution_date") if name in given]
    if not names:
        return now
    if len(names) == 2 and logical != execution:
        raise bad_request(f"{logical!r} != {execution!r}", "logical_date conflicts with execution_date")
    text = given[names[0]]
    if text is None:
        raise bad_request("argument 'input': 'NoneType' object cannot be cast as 'str'", "Incorrect datetime argument")
    return parse_date(text)


def _conflict(request: OperationRequest, run_id: str, logical_date: datetime) -> Generator[Call, Answer, V1Problem]:
    """Return 2.11's conflict, which says whether the date or the id exists."""
    dag_id = request.named("dag_id")
    date = logical_date.astimezone(UTC)
    there = yield Call("GET", request.path(_RUN, dag_run_id=run_id))
    by_id = there.is_success and execution_date(there.json()) != format_date(logical_date)
    what = f"DAGRun ID: '{run_id}'" if by_id else f"DAGRun logical date: '{date.isoformat(sep=' ')}'"
    return V1Problem(409, f"DAGRun with DAG ID: '{dag_id}' and {what} already exists")


def _batch(request: OperationRequest) -> Steps:
    given = dict(request.body)
    body: Json = {
        "page_offset": given.pop("page_offset", 0),
        "page_limit": given.pop("page_limit", 100),
    }
    wanted = given.pop("order_by", None)
    if wanted is not None:
        name = _ORDER.values.get(wanted.lstrip("-"))
        if name is None:
            raise bad_request(
                f"Ordering with '{wanted.lstrip('-')}' is disallowed or the attribute does not exist on the model"
            )
        body["order_by"] = f"-{name}" if wanted.startswith("-") else name
    states = given.pop("states", None)
    if states:
        body["states"] = [state for state in states if state in _STATES]
        if not body["states"]:
            return json_reply({"dag_runs": [], "total_entries": 0})
    if given.get("dag_ids") == []:
        del given["dag_ids"]
    body.update({name.replace("execution_date", "logical_date"): value for name, value in given.items()})
    return (yield from forward(request, body))


def _set_state(request: OperationRequest) -> Steps:
    if "state" not in request.body:
        raise bad_request("{'state': ['Missing data for required field.']}")
    return (yield from forward(request, request.body, [("update_mask", "state")]))


def _set_note(request: OperationRequest) -> Steps:
    if "note" not in request.body:
        raise bad_request("{'note': ['Missing data for required field.']}")
    return (yield from forward(request, request.body, [("update_mask", "note")]))


def _clear(request: OperationRequest) -> Steps:
    dry_run = request.body.get("dry_run", True)
    answer = yield replace(request.call({"dry_run": dry_run, "only_failed": False}), does="clear the run")
    require(request, answer)
    found = answer.json()
    if not dry_run:
        return json_reply(DAG_RUN(found))
    references = found["task_instances"]
    if any("dag_run_id" not in reference for reference in references):
        # Tasks that a later version of the DAG has added: 3.1 returns only their names.
        run = yield from fetch(request, request.path(_RUN))
        identity = {name: run.get(name) for name in ("dag_id", "dag_run_id", "logical_date", "run_after")}
        references = [{**identity, **reference} for reference in references]
    return json_reply({"task_instances": [REFERENCE(reference) for reference in references]})


def _delete(request: OperationRequest) -> Steps:
    """Delete a run; first set a running one to failed, because 2.x deletes it and 3.x does not."""
    delete = replace(request.call(), does="delete the run")
    answer = yield delete
    if answer.status == 409:
        mask = (("update_mask", "state"),)
        does = "set the run's state to failed"
        ended = yield Call("PATCH", request.path(_RUN), mask, {"state": "failed"}, does=does)
        require(request, ended)
        answer = yield delete
    return shaped(request, answer)


OPERATIONS = (
    Operation(
        name="get_dag_runs",
        method="GET",
        path="/dags/{dag_id}/dagRuns",
        to=f"GET {_RUNS}",
        query=(
            *PAGE,
            *dates("execution_date", "start_date", "end_date", "updated_at"),
            listed("state", values=_STATES),
            _ORDER,
            FIELDS,
        ),
        shape=Collection(DAG_RUN, "dag_runs", empty_when_missing=True),
        code=_show,
    ),
    Operation(
        name="post_dag_run",
        method="POST",
        path="/dags/{dag_id}/dagRuns",
        to=f"POST {_RUNS}",
        form=_TRIGGER,
        shape=DAG_RUN,
        code=_trigger,
        missing=("DAG not found", "DAG with dag_id: '{dag_id}' not found"),
    ),
    Operation(
        name="get_dag_runs_batch",
        method="POST",
        path="/dags/~/dagRuns/list",
        to=f"POST {V2}/dags/~/dagRuns/list",
        form=_BATCH,
        shape=Collection(DAG_RUN, "dag_runs"),
        code=_batch,
    ),
    Operation(
        name="get_dag_run",
        method="GET",
        path="/dags/{dag_id}/dagRuns/{dag_run_id}",
        to=f"GET {_RUN}",
        query=(FIELDS,),
        shape=DAG_RUN,
        code=_show,
        missing=_MISSING,
    ),
    Operation(
        name="delete_dag_run",
        method="DELETE",
        path="/dags/{dag_id}/dagRuns/{dag_run_id}",
        to=f"DELETE {_RUN}",
        code=_delete,
        missing=("Not Found", _MISSING[1]),
    ),
    Operation(
        name="update_dag_run_state",
        method="PATCH",
        path="/dags/{dag_id}/dagRuns/{dag_run_id}",
        to=f"PATCH {_RUN}",
        form=Form({"state": Field(choices=("success", "failed", "queued"))}),
        shape=DAG_RUN,
        code=_set_state,
        missing=_NOT_IN_DAG,
    ),
    Operation(
        name="clear_dag_run",
        method="POST",
        path="/dags/{dag_id}/dagRuns/{dag_run_id}/clear",
        to=f"POST {_RUN}/clear",
        form=Form({"dry_run": BOOLEAN}),
        code=_clear,
        missing=("Dag Run id {dag_run_id} not found in dag   {dag_id}", None),
    ),
    Operation(
        name="get_upstream_dataset_events",
        method="GET",
        path="/dags/{dag_id}/dagRuns/{dag_run_id}/upstreamDatasetEvents",
        to=f"GET {_RUN}/upstreamAssetEvents",
        shape=Collection(DATASET_EVENT, "dataset_events", "asset_events"),
        missing=_MISSING,
    ),
    Operation(
        name="set_dag_run_note",
        method="PATCH",
        path="/dags/{dag_id}/dagRuns/{dag_run_id}/setNote",
        to=f"PATCH {_RUN}",
        form=Form({"note": STRING}),
        shape=DAG_RUN,
        code=_set_note,
        missing=_NOT_IN_DAG,
    ),
)

"""Clearing task instances of a DAG. No I/O."""

from __future__ import annotations

from dataclasses import replace

from compat_auth.airflow.v1.mappers.dates import parse_date, say_date
from compat_auth.airflow.v1.mappers.runs import REFERENCE
from compat_auth.airflow.v1.operation import (
    V2,
    Asked,
    Collection,
    Operation,
    require,
)
from compat_auth.airflow.v1.problems import bad_request, message_of, not_found
from compat_auth.airflow.v1.validation.forms import BOOLEAN, DATE, LIST, OPTIONAL, Form
from compat_auth.airflow.v1.validation.messages import Json, Steps, json_reply

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
    answer = yield replace(asked.call(body), does="clear the task instances")
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


OPERATIONS = (
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

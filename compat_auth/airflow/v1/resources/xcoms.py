"""XComs of task instances, and the extra links of operators. No I/O."""

from __future__ import annotations

from collections.abc import Generator

from compat_auth.airflow.v1.mappers.runs import XCOM, XCOM_VALUE
from compat_auth.airflow.v1.messages import Answer, Call, Steps, json_reply
from compat_auth.airflow.v1.operation import V2, Collection, Operation, OperationRequest, require
from compat_auth.airflow.v1.problems import V1Problem, not_found
from compat_auth.airflow.v1.validation.query import PAGE, boolean, integer, text

_DAG = f"{V2}/dags/{{dag_id}}"
_ONE = f"{_DAG}/dagRuns/{{dag_run_id}}/taskInstances/{{task_id}}"
_V1_ONE = "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}"


def _links(request: OperationRequest) -> Steps:
    answer = yield request.call()
    if answer.status == 404:
        raise (yield from _what_is_missing(request))
    require(request, answer)
    # 2.11 answers with the bare object, against its own specification.
    return json_reply(answer.json()["extra_links"])


def _what_is_missing(request: OperationRequest) -> Generator[Call, Answer, V1Problem]:
    dag_id, run_id, task_id = (request.named(name) for name in ("dag_id", "dag_run_id", "task_id"))
    dag = yield Call("GET", request.path(_DAG))
    if dag.status == 404:
        return not_found("DAG not found", f'DAG with ID = "{dag_id}" not found')
    task = yield Call("GET", request.path(f"{_DAG}/tasks/{{task_id}}"))
    if task.status == 404:
        return not_found("Task not found", f'Task with ID = "{task_id}" not found')
    return not_found("DAG Run not found", f'DAG Run with ID = "{run_id}" not found')


OPERATIONS = (
    Operation(
        name="get_xcom_entries",
        method="GET",
        path=f"{_V1_ONE}/xcomEntries",
        to=f"GET {_ONE}/xcomEntries",
        query=(integer("map_index"), text("xcom_key"), *PAGE),
        shape=Collection(XCOM, "xcom_entries"),
    ),
    Operation(
        name="get_xcom_entry",
        method="GET",
        path=f"{_V1_ONE}/xcomEntries/{{xcom_key}}",
        to=f"GET {_ONE}/xcomEntries/{{xcom_key}}",
        query=(
            integer("map_index"),
            boolean("deserialize", default="false"),
            # Without this parameter, 3.x returns the value itself, not its text.
            boolean("stringify", default="true"),
        ),
        shape=XCOM_VALUE,
        missing=("XCom entry not found", None),
    ),
    Operation(
        name="get_extra_links",
        method="GET",
        path=f"{_V1_ONE}/links",
        to=f"GET {_ONE}/links",
        query=(integer("map_index"),),
        code=_links,
    ),
)

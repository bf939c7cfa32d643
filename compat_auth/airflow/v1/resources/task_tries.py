"""The tries of task instances. No I/O."""

from __future__ import annotations

from compat_auth.airflow.v1.mappers.runs import TRY
from compat_auth.airflow.v1.operation import (
    V2,
    Asked,
    Collection,
    Operation,
    shaped,
)
from compat_auth.airflow.v1.validation.messages import Steps
from compat_auth.airflow.v1.validation.query import (
    integer,
    text,
)

_RUN = f"{V2}/dags/{{dag_id}}/dagRuns/{{dag_run_id}}"
_ONE = f"{_RUN}/taskInstances/{{task_id}}"
_MAPPED = f"{_ONE}/{{map_index}}"
_V1_ONE = "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}"
_V1_MAPPED = f"{_V1_ONE}/{{map_index}}"
_TRY_TITLE = "Task instance not found"
_TRY_DETAIL = (
    "Task Instance not found for dag_id={{dag_id}}, run_id={{dag_run_id}}, task_id={{task_id}}, map_index={}, "
    "try_number={{task_try_number}}."
)
_TRY_QUERY = (integer("limit", ""), integer("offset", ""), text("order_by", ""))
_TRIES = Collection(TRY, "task_instances", empty_when_missing=True)


def _tries(asked: Asked) -> Steps:
    answer = yield asked.call(query=[])
    return shaped(asked, answer)


OPERATIONS = (
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

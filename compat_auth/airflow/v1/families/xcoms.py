"""What tasks hand to each other, and the links that operators give. No I/O."""

from __future__ import annotations

from compat_auth.airflow.v1.messages import Steps, json_reply
from compat_auth.airflow.v1.objects import XCOM, XCOM_VALUE
from compat_auth.airflow.v1.operation import V2, Asked, Collection, Operation, require
from compat_auth.airflow.v1.query import PAGE, boolean, integer, text

_ONE = f"{V2}/dags/{{dag_id}}/dagRuns/{{dag_run_id}}/taskInstances/{{task_id}}"
_V1_ONE = "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}"


def _links(asked: Asked) -> Steps:
    answer = yield asked.call()
    require(asked, answer)
    # 2.11 answers with the bare object, whatever its specification says.
    return json_reply(answer.json()["extra_links"])


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
            # 3.x leaves values as they are unless told otherwise.
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

"""What `compat-auth explain` tells about a request to `/api/v1`: every call that it may make."""

import json
import re
from collections.abc import Mapping

import pytest

from compat_auth.airflow.v1.catalog import OPERATIONS
from compat_auth.airflow.v1.driver import Request
from compat_auth.airflow.v1.dry_run import preview
from compat_auth.airflow.v1.mappers.dags import DAG_FILE
from compat_auth.airflow.v1.mappers.etags import pack
from compat_auth.airflow.v1.operation import Operation

WHO = {"first_name": "A", "last_name": "B", "username": "u", "email": "u@example.com"}
RELATIVES = ("include_upstream", "include_downstream", "include_future", "include_past")
BODIES: Mapping[str, object] = {
    "post_dag_run": {},
    "get_dag_runs_batch": {},
    "update_dag_run_state": {"state": "failed"},
    "clear_dag_run": {"dry_run": False},
    "set_dag_run_note": {"note": "n"},
    "get_task_instances_batch": {},
    "patch_task_instance": {"new_state": "failed", "dry_run": False},
    "patch_mapped_task_instance": {"new_state": "failed"},
    "set_task_instance_note": {"note": "n"},
    "set_mapped_task_instance_note": {"note": "n"},
    "post_clear_task_instances": {"dry_run": False},
    "post_set_task_instances_state": {
        "task_id": "t",
        "execution_date": "2024-01-02T00:00:00Z",
        "new_state": "failed",
        "dry_run": False,
        **dict.fromkeys(RELATIVES, False),
    },
    "create_dataset_event": {"dataset_uri": "s3://a"},
    "post_variables": {"key": "k", "value": "***"},
    "patch_variable": {"key": "variable_key", "value": "v"},
    "post_connection": {"connection_id": "c", "conn_type": "http"},
    "patch_connection": {"host": "h"},
    "test_connection": {"connection_id": "c", "conn_type": "http"},
    "post_pool": {"name": "p", "slots": 1},
    "patch_pool": {"name": "pool_name", "slots": 1},
    "patch_dags": {"is_paused": True},
    "patch_dag": {"is_paused": True},
    "post_role": {"name": "r"},
    "patch_role": {"name": "r"},
    "post_user": WHO,
    "patch_user": WHO,
}
QUERIES = {"get_dag_stats": "dag_ids=a", "patch_dags": "dag_id_pattern=a"}
PLACES = {"map_index": "0", "task_try_number": "1", "event_log_id": "1", "import_error_id": "1"}


def told(request: str, body: object = None) -> list[str]:
    method, _, target = request.partition(" ")
    path, _, query = target.partition("?")
    content = b"" if body is None else json.dumps(body).encode()
    return list(preview(Request(method, path.removeprefix("/api/v1"), query, content, "application/json")))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_tells_the_calls_that_it_is_made_of(operation: Operation) -> None:
    places = {**PLACES, "file_token": pack(DAG_FILE, "a")}
    path = re.sub(r"\{(\w+)\}", lambda place: places.get(place[1], place[1]), operation.path)
    query = QUERIES.get(operation.name, "")
    main = re.sub(r"\\\{\w+\\\}", "[^/ ]+", re.escape(operation.to))

    lines = told(f"{operation.method} {path}?{query}", BODIES.get(operation.name))

    assert lines[0] == f"operation: {operation.name}"
    assert all(re.match(r"call \d+( \(writes\))?(, when call \d+ .+)?: [A-Z]+ /", line) for line in lines[1:])
    assert any(re.search(f": {main}", line) for line in lines), lines


def test_a_call_that_need_not_follow_says_what_it_depends_on() -> None:
    lines = told("POST /api/v1/variables", {"key": "k", "value": "v"})

    assert [line.partition("?")[0].partition(" {")[0] for line in lines] == [
        "operation: post_variables",
        "call 1 (writes): POST /api/v2/variables",
        "call 2 (writes), when call 1 is refused with 409: PATCH /api/v2/variables/k",
    ]


def test_a_call_that_is_made_twice_is_told_twice() -> None:
    lines = told("DELETE /api/v1/dags/d/dagRuns/r")

    assert lines[1:] == [
        "call 1 (writes): DELETE /api/v2/dags/d/dagRuns/r",
        'call 2 (writes), when call 1 is refused with 409: PATCH /api/v2/dags/d/dagRuns/r?update_mask=state {"state": "failed"}',
        "call 3 (writes), when call 1 is refused with 409: DELETE /api/v2/dags/d/dagRuns/r",
    ]


def test_what_must_be_looked_up_first_stays_a_place() -> None:
    lines = told("POST /api/v1/datasets/events", {"dataset_uri": "s3://a"})

    assert lines[1].startswith("call 1: GET /api/v2/assets?uri_pattern=s3%3A%2F%2Fa&")
    assert lines[2] == 'call 2 (writes): POST /api/v2/assets/events {"asset_id": "{asset_id}", "extra": {}}'
    assert lines[3].startswith("call 3, when call 1 is not the last page: GET /api/v2/assets?")
    assert lines[3].endswith("&offset=100")


def test_a_trial_run_is_no_write_and_the_change_after_it_is_one() -> None:
    lines = told("POST /api/v1/dags/d/updateTaskInstancesState", BODIES["post_set_task_instances_state"])

    writing = [line for line in lines if "(writes)" in line]
    assert len(writing) == 1
    assert ": PATCH /api/v2/dags/d/dagRuns/{dag_run_id}/taskInstances/t?" in writing[0]
    assert any(": PATCH /api/v2/dags/d/dagRuns/{dag_run_id}/taskInstances/t/dry_run?" in line for line in lines)


def test_a_log_tells_what_it_accepts_because_one_path_is_asked_twice() -> None:
    lines = told("GET /api/v1/dags/d/dagRuns/r/taskInstances/t/logs/1")

    assert lines[2].endswith("logs/1?map_index=-1&full_content=true (Accept: application/x-ndjson)")
    assert lines[3].startswith("call 3, when call 2 is refused with 406: ")


def test_an_operation_that_asks_nobody_says_what_it_answers() -> None:
    assert told("DELETE /api/v1/pools/default_pool") == [
        "operation: delete_pool",
        "answer: 400: Default Pool can't be deleted",
    ]
    assert told("GET /api/v1/dagStats?dag_ids=,") == ["operation: get_dag_stats", "answer: 200 without a call"]


def test_a_request_that_is_for_no_operation_says_so() -> None:
    assert told("GET /api/v1/nosuch")[0].startswith("answer: 404: The requested URL was not found")


def test_a_secret_in_a_body_is_not_shown() -> None:
    body = {"connection_id": "c", "conn_type": "http", "password": "hush", "extra": '{"token": "hush"}'}

    lines = told("POST /api/v1/connections", body)

    assert "hush" not in "".join(lines)
    assert '"password": "(hidden)"' in lines[1]

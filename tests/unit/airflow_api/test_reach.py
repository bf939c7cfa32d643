"""What a request to Airflow's API can reach beside the object that its path names."""

from __future__ import annotations

import json
import time

import pytest

from compat_auth.airflow_api.bodies import MAX_NAMES
from compat_auth.airflow_api.permission import uncovered
from compat_auth.airflow_api.reach import MAX_BODY_BYTES, OPERATIONS, reach_of
from compat_auth.scopes import parse_scopes

V2, V1 = "/api/v2/dags", "/api/v1/dags"
RUNS, INSTANCES = f"{V2}/mine/dagRuns", f"{V2}/mine/dagRuns/r1/taskInstances"


def bulk(*entities: object, action: str = "update") -> bytes:
    return json.dumps({"actions": [{"action": action, "entities": entities}]}).encode()


def missing(scopes: str | tuple[str, ...], method: str, path: str, body: object = None) -> str | None:
    seen = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    return uncovered(parse_scopes((scopes,) if isinstance(scopes, str) else scopes), [method], path, seen)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("PATCH", RUNS, bulk({"dag_id": "other", "dag_run_id": "r"}), id="runs"),
        pytest.param("PATCH", RUNS, bulk({"dag_id": "other", "dag_run_id": "r"}, action="delete"), id="delete-runs"),
        pytest.param("PATCH", f"{RUNS}/", bulk({"dag_id": "other", "dag_run_id": "r"}), id="slash-at-the-end"),
        pytest.param("PATCH", RUNS, bulk("r1", {"dag_id": "other", "dag_run_id": "r"}), id="one-of-two"),
        pytest.param("PATCH", RUNS, bulk({"dag_id": "~", "dag_run_id": "r"}), id="every-dag"),
        pytest.param("PATCH", RUNS, bulk({"dag_id": "mine ", "dag_run_id": "r"}), id="a-blank-makes-another-name"),
        pytest.param("PATCH", RUNS, bulk({"dag_id": "\ud800", "dag_run_id": "r"}), id="half-a-surrogate-pair"),
        pytest.param("PATCH", RUNS, bulk({"dag_id": ["other"], "dag_run_id": "r"}), id="a-list-for-a-name"),
        pytest.param("PATCH", RUNS, bulk(7), id="a-number-for-an-entity"),
        pytest.param("PATCH", RUNS, {"actions": {"entities": []}}, id="no-list"),
        pytest.param("PATCH", RUNS, {"actions": ["x"]}, id="no-object"),
        pytest.param("PATCH", RUNS, [], id="no-object-at-all"),
        pytest.param("PATCH", RUNS, b'{"actions": [], "actions": [{"entities": []}]}', id="a-member-twice"),
        pytest.param("PATCH", RUNS, b'{"actions":[],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="too-deep"),
        pytest.param("PATCH", RUNS, json.dumps({"actions": []}).encode("utf-16"), id="another-encoding"),
        pytest.param("PATCH", RUNS, b"actions=1", id="no-json"),
        pytest.param("PATCH", RUNS, None, id="unseen"),
        pytest.param("PATCH", INSTANCES, bulk({"dag_id": "other", "task_id": "t"}), id="task-instances"),
        pytest.param(
            "POST", f"{V2}/mine/clearDagRuns", {"dag_runs": [{"dag_id": "other", "dag_run_id": "r"}]}, id="clear"
        ),
        pytest.param("POST", f"{RUNS}/list", {"dag_ids": ["other"]}, id="list"),
        pytest.param("POST", f"{RUNS}/list", {}, id="list-of-all"),
        pytest.param("POST", f"{RUNS}/list", {"dag_ids": []}, id="list-of-all-again"),
        pytest.param("POST", f"{INSTANCES}/list", {"dag_ids": ["mine", "other"]}, id="list-of-task-instances"),
        pytest.param("POST", f"{V1}/mine/clearTaskInstances", {"include_subdags": True}, id="dependent-dags-of-2.11"),
        pytest.param("POST", f"{V1}/mine/clearTaskInstances", {"include_parentdag": "true"}, id="parent-dag-of-2.11"),
        pytest.param("GET", f"{V2}/mine/newThings", None, id="unknown-operation"),
        pytest.param("PUT", f"{V2}/mine", {}, id="unknown-method"),
        pytest.param("PATCH", f"{V2}/mine%2FdagRuns", bulk({"dag_id": "other"}), id="an-encoded-slash"),
    ],
)
def test_a_scope_for_one_dag_does_not_cover_a_request_that_names_another(method: str, path: str, body: object) -> None:
    assert missing("dags:mine", method, path, body) is not None
    assert missing("all", method, path, body) is None


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("PATCH", RUNS, bulk("r1", {"dag_run_id": "r2"}, {"dag_id": "mine", "dag_run_id": "r"}), id="runs"),
        pytest.param("PATCH", RUNS, bulk({"dag_id": None, "dag_run_id": "r"}), id="null-is-the-paths-own"),
        pytest.param("PATCH", INSTANCES, bulk("t", {"dag_id": "mine", "task_id": "t"}), id="task-instances"),
        pytest.param("POST", f"{V2}/mine/clearDagRuns", {"dag_runs": [{"dag_run_id": "r"}]}, id="clear"),
        pytest.param("POST", f"{V2}/mine/clearDagRuns", {"partition_key": "k"}, id="clear-a-partition"),
        pytest.param("POST", f"{V1}/mine/clearTaskInstances", {"dry_run": False}, id="clear-in-v1"),
        pytest.param("POST", f"{V2}/mine/clearTaskInstances", None, id="clear-in-v2"),
        pytest.param("POST", RUNS, None, id="trigger"),
        pytest.param("GET", f"{V2}/mine/dagRuns/~/taskInstances", None, id="all-its-runs"),
        pytest.param("HEAD", RUNS, None, id="head"),
        pytest.param("GET", f"{RUNS}/manual__2026-01-01T00%3A00%3A00%2B00%3A00", None, id="a-run-with-escapes"),
        pytest.param("DELETE", f"{V1}/mine/datasets/queuedEvent/s3%3A%2F%2Fb%2Fk", None, id="a-uri"),
    ],
)
def test_a_scope_for_one_dag_covers_a_request_that_names_that_one_alone(method: str, path: str, body: object) -> None:
    assert missing("dags:mine", method, path, body) is None


def test_a_limit_holds_below_the_path_that_airflow_is_served_at() -> None:
    path, body = "/team/airflow/api/v2/dags/mine/dagRuns", bulk({"dag_id": "other", "dag_run_id": "r"})
    scope = "PATCH /team/airflow/api/v2/dags/mine/"

    needed = missing(scope, "PATCH", path, body)
    unknown = missing("GET /team/ui/dags/mine/", "GET", "/team/ui/dags/mine/newThings")

    assert needed == "PATCH:/team/airflow/api/v2/dags/other/dagRuns"
    assert unknown == "GET:/team/ui/dags/~/newThings"


def test_two_scopes_cover_a_request_that_names_two_dags() -> None:
    body = bulk({"dag_id": "b", "dag_run_id": "r"}, {"dag_id": "a", "dag_run_id": "r"})

    both = missing(("dags:a", "dags:b"), "PATCH", f"{V2}/a/dagRuns", body)
    other_method = missing(("dags:a", f"GET {V2}/b/"), "PATCH", f"{V2}/a/dagRuns", body)

    assert both is None
    assert other_method == "PATCH:/api/v2/dags/b/dagRuns"


def test_a_scope_for_one_run_does_not_cover_a_request_that_names_another_run() -> None:
    scope = f"PATCH {INSTANCES}"

    other = missing(scope, "PATCH", INSTANCES, bulk({"dag_run_id": "r2", "task_id": "t"}))
    own = missing(scope, "PATCH", INSTANCES, bulk({"dag_run_id": "r1", "task_id": "t"}))

    assert other == "PATCH:/api/v2/dags/mine/dagRuns/r2/taskInstances"
    assert own is None


def test_a_dag_named_bulk_is_not_every_dag() -> None:
    path = f"{V2}/bulk"

    for_all = missing("dags:bulk", "PATCH", path, bulk({"dag_id": "other", "is_paused": True}))
    by_name = missing("dags:bulk", "PATCH", path, bulk("other"))
    itself = missing("dags:bulk", "PATCH", path, {"is_paused": True})

    assert for_all == "PATCH:/api/v2/dags/other"
    assert by_name == "PATCH:/api/v2/dags/other"
    assert itself is None


@pytest.mark.parametrize(
    ("scope", "method", "path", "body"),
    [
        ("POST /api/v2/dags/~/dagRuns/list", "POST", f"{V2}/~/dagRuns/list", {"dag_ids": ["a"]}),
        ("POST /api/v1/dags/~/dagRuns/list", "POST", f"{V1}/~/dagRuns/list", None),
        ("PATCH /api/v2/dags/{dag_id}/dagRuns", "PATCH", f"{V2}/~/dagRuns", bulk({"dag_id": "a"})),
        ("POST /api/v2/backfills", "POST", "/api/v2/backfills", {"dag_id": "a"}),
        ("GET /ui/dags/folders", "GET", "/ui/dags/folders", None),
        ("read", "GET", "/api/v2/dags", None),
        ("GET /api/v2/newThings/1", "GET", "/api/v2/newThings/1", None),
        ("POST /reports", "POST", "/reports", None),
    ],
)
def test_a_scope_that_fixes_no_object_covers_as_it_is_written(scope: str, method: str, path: str, body: object) -> None:
    assert missing(scope, method, path, body) is None


def test_more_names_than_can_be_compared_count_as_every_name() -> None:
    few = bulk(*({"dag_id": "mine", "dag_run_id": str(number)} for number in range(MAX_NAMES)))
    many = bulk(*({"dag_id": "mine", "dag_run_id": str(number)} for number in range(MAX_NAMES + 1)))

    assert missing("dags:mine", "PATCH", RUNS, few) is None
    assert missing("dags:mine", "PATCH", RUNS, many) == "PATCH:/api/v2/dags/~/dagRuns"


@pytest.mark.parametrize("part", [b"{}", b"[]", b'"a"', b'{"a":1}'])
def test_a_body_with_more_values_than_anybody_means_counts_as_every_name_at_once(part: bytes) -> None:
    entities = b",".join([part] * (MAX_BODY_BYTES // (len(part) + 1) - 20))
    body = b'{"actions":[{"action":"update","entities":[%s]}]}' % entities
    began = time.thread_time()

    reach = reach_of("PATCH", "/api/v2/dags/etl/dagRuns", body)

    # Parsed, it took 0.2 to 0.5 s of the event loop, for a caller whom nobody knows yet.
    assert time.thread_time() - began < 0.1
    assert reach == reach_of("PATCH", "/api/v2/dags/etl/dagRuns", None)


def test_a_refusal_for_many_names_tells_no_scope() -> None:
    body = bulk(*({"dag_id": f"d{number}", "dag_run_id": "r"} for number in range(6)))

    assert missing("dags:mine", "PATCH", RUNS, body) == ""


def test_every_line_of_the_table_is_understood() -> None:
    kinds = {operation.kind for operation in OPERATIONS}
    without_place = [
        operation for operation in OPERATIONS if operation.kind == "own" and not operation.names_own_object
    ]

    assert kinds == {"none", "own", "bulk", "runs", "list", "named", "clear", "any"}
    assert without_place == []
    assert len({operation[1:] for operation in OPERATIONS}) == len(OPERATIONS)


def test_what_is_no_path_of_airflows_reaches_nothing_more() -> None:
    assert reach_of("POST", "/reports", b"").targets == frozenset()
    assert reach_of("OPTIONS", f"{V2}/~/dagRuns", None).targets == frozenset()

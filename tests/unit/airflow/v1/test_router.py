"""From a path to an operation: encoded segments are data, and what 2.11 does not know it does not know here."""

from urllib.parse import unquote

import pytest

from compat_auth.airflow.v1.catalog import OPERATIONS, ROUTER
from compat_auth.airflow.v1.problems import V1Problem
from compat_auth.http.paths import AIRFLOW_RESTS, read_path

RUN = "manual__2024-01-01T00%3A00%3A00%2B00%3A00"


def test_there_are_all_89_operations() -> None:
    names = {operation.name for operation in OPERATIONS}

    assert len(OPERATIONS) == 89
    assert len(names) == 89


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_is_found_by_its_own_path(operation) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    path = operation.path
    for place in ("map_index", "task_try_number", "event_log_id", "import_error_id"):
        path = path.replace(f"{{{place}}}", "1")

    found, _ = ROUTER.find(operation.method, path)

    assert found is operation


@pytest.mark.parametrize(
    ("method", "path", "name", "segments"),
    [
        pytest.param(
            "GET", "/dags/~/dagRuns/list", "get_dag_run", {"dag_id": "~", "dag_run_id": "list"}, id="get-list"
        ),
        pytest.param("POST", "/dags/~/dagRuns/list", "get_dag_runs_batch", {}, id="post-list"),
        pytest.param("GET", f"/dags/d/dagRuns/{RUN}", "get_dag_run", {"dag_id": "d", "dag_run_id": RUN}, id="run-id"),
        pytest.param("GET", "/dags/a%2Fb", "get_dag", {"dag_id": "a%2Fb"}, id="encoded-slash"),
        pytest.param("GET", "/variables/a/b", "get_variable", {"variable_key": "a%2Fb"}, id="plain-slash-in-a-key"),
        pytest.param("GET", "/datasets/s3%3A%2F%2Fb", "get_dataset", {"uri": "s3%3A%2F%2Fb"}, id="uri"),
        pytest.param("GET", "/datasets/events", "get_dataset_events", {}, id="events"),
        pytest.param("HEAD", "/pools", "get_pools", {}, id="head"),
        pytest.param(
            "GET",
            "/dags/d/dagRuns/r/taskInstances/t/listMapped",
            "get_mapped_task_instances",
            {"dag_id": "d", "dag_run_id": "r", "task_id": "t"},
            id="listMapped-is-no-map-index",
        ),
    ],
)
def test_a_path_finds_its_operation(method: str, path: str, name: str, segments: dict[str, str]) -> None:
    operation, found = ROUTER.find(method, path)

    assert operation.name == name
    assert dict(found) == segments


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("", id="root"),
        pytest.param("/", id="slash"),
        pytest.param("/nothing", id="unknown"),
        pytest.param("/dags/", id="slash-at-the-end"),
        pytest.param("/eventLogs/x", id="no-number"),
        pytest.param("/dags/d/dagRuns/r/taskInstances/t/x", id="map-index-that-is-no-number"),
        pytest.param("/dags/d/dagRuns/r/taskInstances/t/-1", id="negative-map-index"),
        pytest.param("/variables/a//b", id="empty-segment"),
        pytest.param("/variables/", id="empty-key"),
    ],
)
def test_a_path_that_is_none_is_404_as_in_2_11(path: str) -> None:
    with pytest.raises(V1Problem) as refused:
        ROUTER.find("GET", path)

    assert refused.value.status == 404
    assert b'"about:blank"' in refused.value.reply().body


def test_a_method_that_a_path_does_not_have_is_405() -> None:
    with pytest.raises(V1Problem) as refused:
        ROUTER.find("PUT", "/pools")

    assert refused.value.status == 405


def test_allow_names_the_methods_of_a_path() -> None:
    assert ROUTER.methods("/pools/p") == ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH")
    assert ROUTER.methods("/nothing") == ()


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/datasets/s3://bucket/key", "uri", "s3://bucket/key"),
        ("/datasets/s3%3A%2F%2Fbucket%2Fkey", "uri", "s3://bucket/key"),
        ("/datasets/queuedEvent/s3://bucket/key", "uri", "s3://bucket/key"),
        ("/dags/d/datasets/queuedEvent/s3://bucket/key", "uri", "s3://bucket/key"),
        ("/variables/a//b", "variable_key", "a//b"),
        ("/dags/d/dagRuns/r/taskInstances/t/xcomEntries/a/b", "xcom_key", "a/b"),
        ("/dags/d/dagRuns/r/taskInstances/t/xcomEntries/a//b", "xcom_key", "a//b"),
    ],
)
def test_the_rest_of_a_path_is_one_name_encoded_or_not(path: str, name: str, value: str) -> None:
    canonical = read_path(f"/api/v1{path}".encode(), AIRFLOW_RESTS).decode()

    _, found = ROUTER.find("GET", canonical.removeprefix("/api/v1"))

    assert unquote(found[name]) == value

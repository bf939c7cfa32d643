"""Clients of Airflow 2's `/api/v1` in front of a live Airflow 3.3 with SimpleAuthManager."""

from urllib.parse import quote

import pytest

from compat_auth.airflow.v1.catalog import OPERATIONS
from support.peers.airflows import Airflow3
from support.peers.gateway import Gateway, StartGateway

pytestmark = pytest.mark.peer

ADMIN = ("admin", "admin")
OF_FAB = [operation for operation in OPERATIONS if operation.fab]


@pytest.fixture(scope="module")
def instance(airflow_simple: Airflow3, gateway: StartGateway) -> Gateway:
    return gateway(
        {
            "upstream": {"url": airflow_simple.url, "profile": "airflow-simple"},
            "token": {"strategy": "exchange"},
            "basic_auth": {"directories": ["upstream"]},
        }
    )


def test_there_are_eleven_operations_about_users() -> None:
    assert len(OF_FAB) == 11


@pytest.mark.parametrize("operation", OF_FAB, ids=lambda operation: operation.name)
def test_without_fab_it_is_refused_as_2_11_refuses_it(instance: Gateway, operation) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    path = operation.path.replace("{role_name}", "Admin").replace("{username}", "admin")
    user = {"first_name": "A", "last_name": "B", "username": "c", "email": "d@e", "password": "p"}
    body = (user if "user" in path else {"name": "r"}) if operation.form is not None else None

    answer = instance.request(operation.method, f"/api/v1{path}", json=body, auth=ADMIN)

    assert answer.status_code == 400
    assert answer.json()["detail"] == (
        "This endpoint is only available when using the default auth manager FabAuthManager."
    )


@pytest.mark.parametrize(
    "path", ["/dags", "/dags/tiny/details", "/pools", "/variables", "/connections", "/dagStats?dag_ids=tiny"]
)
def test_everything_else_works_as_with_fab(instance: Gateway, path: str) -> None:
    answer = instance.get(f"/api/v1{path}", auth=ADMIN)

    assert answer.status_code == 200, answer.text


def test_a_run_is_triggered_twice_and_the_second_time_it_exists(instance: Gateway) -> None:
    body = {"execution_date": "2024-03-04T00:00:00Z"}

    first = instance.post("/api/v1/dags/tiny/dagRuns", json=body, auth=ADMIN)
    second = instance.post("/api/v1/dags/tiny/dagRuns", json=body, auth=ADMIN)

    assert first.status_code == 200, first.text
    assert first.json()["dag_run_id"] == "manual__2024-03-04T00:00:00+00:00"
    assert second.status_code == 409
    assert "already exists" in second.json()["detail"]


@pytest.mark.parametrize("key", ["two//slashes", "s3://bucket/key", "/first"])
def test_a_key_with_empty_segments_is_the_same_in_both_apis(instance: Gateway, key: str) -> None:
    made = instance.post("/api/v2/variables", json={"key": key, "value": "one"}, auth=ADMIN)

    found = instance.get(f"/api/v2/variables/{key}", auth=ADMIN)
    old = instance.get(f"/api/v1/variables/{quote(key, safe='')}", auth=ADMIN)

    assert made.status_code == 201, made.text
    assert (found.status_code, found.json()["key"]) == (200, key)
    assert (old.status_code, old.json()["key"]) == (200, key)


def test_a_base_url_that_ends_in_a_slash_leads_to_the_same_answer(instance: Gateway) -> None:
    answer = instance.get("/api/v1//dags", auth=ADMIN, allow_redirects=True)

    assert answer.status_code == 200
    assert answer.json() == instance.get("/api/v1/dags", auth=ADMIN).json()

"""Clients of Airflow 2's `/api/v1` in front of a live Airflow 3.3 with FabAuthManager."""

import json

import pytest

from compat_auth.airflow.v1.mappers.dags import DAG
from support.peers.airflows import Airflow3
from support.peers.fab import exchange, runs_of, shared_secret
from support.peers.gateway import Gateway, StartGateway, call, curl

pytestmark = pytest.mark.peer

ADMIN = ("admin", "admin")
VIEWER = ("viewer", "viewer")


@pytest.fixture(scope="module")
def instance(airflow_fab: Airflow3, gateway: StartGateway) -> Gateway:
    """A gateway that answers `/api/v1`."""
    return gateway(shared_secret(airflow_fab))


def test_curl_gets_the_dags_in_the_shape_of_2_11(instance: Gateway) -> None:
    answer = curl("-u", "admin:admin", f"{instance.url}/api/v1/dags")

    assert answer.status == 200
    assert answer.all("Content-Type") == ["application/json"]
    listed = answer.json()
    assert listed["total_entries"] == 2
    assert {dag["dag_id"] for dag in listed["dags"]} == {"tiny", "tiny_daily"}
    assert all(dag.keys() == DAG.fields for dag in listed["dags"])


def test_a_run_is_triggered_without_a_date_as_2_x_clients_do(instance: Gateway, airflow_fab: Airflow3) -> None:
    before = runs_of(airflow_fab, "tiny")

    answer = instance.post("/api/v1/dags/tiny/dagRuns", json={"conf": {"word": "grüße"}}, auth=ADMIN)

    assert answer.status_code == 200, answer.text
    run = answer.json()
    assert run["dag_run_id"] == f"manual__{run['logical_date']}"
    assert run["execution_date"] == run["logical_date"]
    assert run["external_trigger"] is True
    assert run["conf"] == {"word": "grüße"}
    assert runs_of(airflow_fab, "tiny") == before | {run["dag_run_id"]}


def test_a_viewer_is_refused_in_the_words_of_2_11(instance: Gateway) -> None:
    answer = instance.get("/api/v1/connections", auth=VIEWER)

    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["title"] == "Forbidden"


def test_a_bad_password_is_asked_for_another(instance: Gateway) -> None:
    answer = instance.get("/api/v1/dags", auth=("admin", "wrong"))

    assert answer.status_code == 401
    assert "Basic" in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("path", ["/health", "/api/v1/health", "/api/v1/version"])
def test_what_2_11_tells_everybody_needs_no_password(instance: Gateway, path: str) -> None:
    answer = instance.get(path)

    assert answer.status_code == 200


def test_head_is_answered_where_get_is(instance: Gateway) -> None:
    got = instance.get("/api/v1/pools", auth=ADMIN)

    answer = instance.request("HEAD", "/api/v1/pools", auth=ADMIN)

    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["Content-Length"] == got.headers["Content-Length"]


def test_an_unknown_path_is_404_in_the_shape_of_2_11(instance: Gateway) -> None:
    answer = instance.get("/api/v1/nothing", auth=ADMIN)

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json().keys() == {"detail", "status", "title", "type"}


def test_without_the_setting_the_upstream_answers_itself(airflow_fab: Airflow3, gateway: StartGateway) -> None:
    settings = exchange(airflow_fab)
    settings["upstream"]["api_v1"] = False
    instance = gateway(settings)

    answer = instance.get("/api/v1/dags", auth=ADMIN)

    assert answer.status_code == 404
    assert "has been removed" in answer.json()["error"]


def test_a_requirement_on_the_new_path_holds_on_the_old_one(airflow_fab: Airflow3, gateway: StartGateway) -> None:
    instance = gateway(
        {**shared_secret(airflow_fab), "require": [{"path": "/api/v2/pools", "all_of": ["user:viewer"]}]}
    )

    refused = instance.get("/api/v1/pools", auth=ADMIN)
    met = instance.get("/api/v1/pools", auth=VIEWER)

    assert refused.status_code == 403
    assert met.status_code == 200


def test_the_upstream_s_own_token_is_no_way_around_a_requirement(airflow_fab: Airflow3, gateway: StartGateway) -> None:
    instance = gateway(
        {**shared_secret(airflow_fab), "require": [{"path": "/api/v2/pools", "all_of": ["user:viewer"]}]}
    )
    login = call("POST", f"{airflow_fab.url}/auth/token", json={"username": "admin", "password": "admin"})
    bearer = {"Authorization": f"Bearer {login.json()['access_token']}"}

    refused = instance.get("/api/v1/pools", headers=bearer)
    elsewhere = instance.get("/api/v1/dags", headers=bearer)

    assert refused.status_code == 403
    assert elsewhere.status_code == 200


def test_a_body_larger_than_any_client_sends_is_refused(instance: Gateway) -> None:
    body = json.dumps({"conf": {"x": "y" * (5 * 1024 * 1024)}})

    answer = instance.post(
        "/api/v1/dags/tiny/dagRuns", data=body, headers={"Content-Type": "application/json"}, auth=ADMIN
    )

    assert answer.status_code == 413

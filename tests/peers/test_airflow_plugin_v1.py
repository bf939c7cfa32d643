"""Clients of Airflow 2's `/api/v1` in live Airflow 3.3 with the plugin: the translation calls Airflow in its own process."""

import pytest

from compat_auth.airflow.v1.mappers.dags import DAG
from support.peers import seed
from support.peers.airflows import Airflow3
from support.peers.fab import runs_of
from support.peers.gateway import call, curl
from support.peers.plugin import BASIC_AUTH, StartPlugged

pytestmark = pytest.mark.peer

ADMIN = ("admin", "admin")


@pytest.fixture(scope="module")
def fab(plugged_airflow: StartPlugged) -> Airflow3:
    return plugged_airflow(seed.FAB, AIRFLOW__FAB__AUTH_BACKENDS=BASIC_AUTH)


def test_curl_gets_the_dags_in_the_shape_of_2_11(fab: Airflow3) -> None:
    answer = curl("--user", "admin:admin", f"{fab.url}/api/v1/dags")

    assert answer.status == 200
    assert {dag["dag_id"] for dag in answer.json()["dags"]} == {"tiny", "tiny_daily"}
    assert all(dag.keys() == DAG.fields for dag in answer.json()["dags"])


def test_a_run_is_triggered_without_a_date(fab: Airflow3) -> None:
    before = runs_of(fab, "tiny")

    answer = call("POST", f"{fab.url}/api/v1/dags/tiny/dagRuns", json={}, auth=ADMIN)

    assert answer.status_code == 200, answer.text
    assert runs_of(fab, "tiny") == before | {answer.json()["dag_run_id"]}


def test_users_are_those_of_fab(fab: Airflow3) -> None:
    answer = call("GET", f"{fab.url}/api/v1/users", auth=ADMIN)

    assert answer.status_code == 200, answer.text
    assert "viewer" in {user["username"] for user in answer.json()["users"]}


@pytest.mark.parametrize("path", ["/health", "/api/v1/health", "/api/v1/version", "/api/v1/openapi.json"])
def test_what_2_11_tells_everybody_needs_no_password(fab: Airflow3, path: str) -> None:
    answer = call("GET", f"{fab.url}{path}")

    assert answer.status_code == 200, answer.text


def test_nobody_gets_nothing_of_the_rest(fab: Airflow3) -> None:
    answer = call("GET", f"{fab.url}/api/v1/dags")

    assert answer.status_code == 401
    assert "Basic" in answer.headers["WWW-Authenticate"]


def test_airflow_s_own_token_is_good_for_the_old_api_too(fab: Airflow3) -> None:
    login = call("POST", f"{fab.url}/auth/token", json={"username": "viewer", "password": "viewer"})
    bearer = {"Authorization": f"Bearer {login.json()['access_token']}"}

    dags = call("GET", f"{fab.url}/api/v1/dags", headers=bearer)
    connections = call("GET", f"{fab.url}/api/v1/connections", headers=bearer)

    assert dags.status_code == 200, dags.text
    assert connections.status_code == 403

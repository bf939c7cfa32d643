"""Old clients in front of a live Airflow 3.3 with SimpleAuthManager."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.peers.airflows import JWT_SECRET, Airflow3
from support.peers.gateway import COMMAND, Gateway, StartGateway, clean_environment, curl
from support.peers.seed import SIMPLE_USERS

pytestmark = pytest.mark.peer

DAGS = "/api/v2/dags"
CONNECTIONS = "/api/v2/connections"
CHALLENGE = 'Basic realm="Airflow", charset="UTF-8"'


def exchange(airflow: Airflow3) -> dict[str, Any]:
    return {
        "upstream": {"url": airflow.url, "profile": "airflow-simple"},
        "token": {"strategy": "exchange"},
        "basic_auth": {"directories": ["upstream"]},
    }


def shared_secret(airflow: Airflow3, folder: Path) -> dict[str, Any]:
    file = folder / "htpasswd"
    # One more than Airflow knows: it believes whom the token names.
    for name in (*SIMPLE_USERS, "guest"):
        add_user(file, name, name)
    return {
        "upstream": {"url": airflow.url, "profile": "airflow-simple", "roles": {**SIMPLE_USERS, "*": "VIEWER"}},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(file)},
    }


def add_user(file: Path, name: str, password: str) -> None:
    subprocess.run(
        [COMMAND, "users", "add", name, "--file", str(file), "--password-stdin"],
        input=f"{password}\n".encode(),
        env=clean_environment(),
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module", params=["exchange", "shared_secret"])
def instance(
    request: pytest.FixtureRequest,
    airflow_simple: Airflow3,
    gateway: StartGateway,
    tmp_path_factory: pytest.TempPathFactory,
) -> Gateway:
    if request.param == "exchange":
        return gateway(exchange(airflow_simple))
    return gateway(shared_secret(airflow_simple, tmp_path_factory.mktemp("htpasswd")))


@pytest.mark.parametrize("name", list(SIMPLE_USERS))
def test_every_user_gets_the_dags_with_curl(instance: Gateway, name: str) -> None:
    answer = curl("-u", f"{name}:{name}", f"{instance.url}{DAGS}")

    assert answer.status == 200
    assert {dag["dag_id"] for dag in answer.json()["dags"]} == {"tiny", "tiny_daily"}


@pytest.mark.parametrize("credential", ["admin:wrong", "nobody:nobody", "admin:"])
def test_a_bad_credential_is_asked_for_a_password(instance: Gateway, credential: str) -> None:
    answer = curl("-u", credential, f"{instance.url}{DAGS}")

    assert answer.status == 401
    assert answer.all("WWW-Authenticate") == [CHALLENGE]


@pytest.mark.parametrize(("name", "status"), [("admin", 200), ("op", 200), ("user", 403), ("viewer", 403)])
def test_the_role_decides_who_may_see_connections(instance: Gateway, name: str, status: int) -> None:
    answer = curl("-u", f"{name}:{name}", f"{instance.url}{CONNECTIONS}")

    assert answer.status == status


def test_a_viewer_may_not_trigger_a_run_and_a_user_may(instance: Gateway) -> None:
    path, body = "/api/v2/dags/tiny/dagRuns", {"logical_date": None}

    refused = instance.post(path, json=body, auth=("viewer", "viewer"))
    accepted = instance.post(path, json=body, auth=("user", "user"))

    assert refused.status_code == 403
    assert refused.json() == {"detail": "Forbidden"}
    assert accepted.status_code == 200, accepted.text


def test_a_user_without_a_role_of_his_own_gets_that_of_everybody_else(
    airflow_simple: Airflow3, gateway: StartGateway, tmp_path: Path
) -> None:
    instance = gateway(shared_secret(airflow_simple, tmp_path))

    dags = instance.get(DAGS, auth=("guest", "guest"))
    connections = instance.get(CONNECTIONS, auth=("guest", "guest"))

    assert dags.status_code == 200
    assert connections.status_code == 403


def test_a_user_without_any_role_is_refused_by_the_gateway(
    airflow_simple: Airflow3, gateway: StartGateway, tmp_path: Path
) -> None:
    settings = shared_secret(airflow_simple, tmp_path)
    settings["upstream"]["roles"] = {"admin": "ADMIN"}
    instance = gateway(settings)

    answer = instance.get(DAGS, auth=("guest", "guest"))

    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_airflow_s_own_token_passes_unchanged(instance: Gateway) -> None:
    given = instance.post("/auth/token", json={"username": "viewer", "password": "viewer"})
    bearer = {"Authorization": f"Bearer {given.json()['access_token']}"}

    dags = instance.get(DAGS, headers=bearer)
    connections = instance.get(CONNECTIONS, headers=bearer)

    assert given.status_code == 201
    assert dags.status_code == 200
    assert connections.status_code == 403

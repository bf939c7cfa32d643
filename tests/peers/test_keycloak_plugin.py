"""The plugin inside a live Airflow 3.3 with KeycloakAuthManager: passwords, its own tokens, and what it cannot do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.peers.airflows import Airflow3
from support.peers.gateway import call
from support.peers.keycloak_realm import CLIENT, CLIENT_SECRET, REALM, Realm, served_realm
from support.peers.plugin import make_plugged_python
from support.peers.seed import SIMPLE, Kind

pytestmark = pytest.mark.peer

MANAGER = "airflow.providers.keycloak.auth_manager.keycloak_auth_manager.KeycloakAuthManager"
KEYCLOAK = Kind("keycloak", "airflow3-keycloak", MANAGER, SIMPLE.commands)
DAGS = "/api/v2/dags"


@pytest.fixture(scope="module")
def realm() -> Iterator[Realm]:
    with served_realm() as realm:
        yield realm


@pytest.fixture(scope="module")
def airflow(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow3]:
    python = make_plugged_python(tmp_path_factory.mktemp("plugged_keycloak"), beside="airflow3-keycloak")
    airflow = Airflow3(KEYCLOAK, tmp_path_factory.mktemp("airflow_keycloak"), python)
    airflow.restart(
        AIRFLOW__KEYCLOAK_AUTH_MANAGER__SERVER_URL=realm.url,
        AIRFLOW__KEYCLOAK_AUTH_MANAGER__REALM=REALM,
        AIRFLOW__KEYCLOAK_AUTH_MANAGER__CLIENT_ID=CLIENT,
        AIRFLOW__KEYCLOAK_AUTH_MANAGER__CLIENT_SECRET=CLIENT_SECRET,
        AIRFLOW__COMPAT_AUTH__AUTH_BACKENDS="personal_token,basic_auth",
    )
    yield airflow
    airflow.stop()


@pytest.mark.parametrize("path", [DAGS, "/api/v1/dags"])
@pytest.mark.parametrize("name", ["admin", "viewer"])
def test_a_password_of_keycloak_opens_the_old_api_and_the_new(airflow: Airflow3, name: str, path: str) -> None:
    right = call("GET", airflow.url + path, auth=(name, name))
    wrong = call("GET", airflow.url + path, auth=(name, "no"))

    assert right.status_code == 200, right.text
    assert wrong.status_code == 401
    assert "Basic realm" in wrong.headers["WWW-Authenticate"]


def test_keycloak_s_permissions_hold(airflow: Airflow3) -> None:
    runs = f"{airflow.url}/api/v2/dags/tiny/dagRuns"

    refused = call("POST", runs, auth=("viewer", "viewer"), json={"logical_date": None})
    allowed = call("POST", runs, auth=("admin", "admin"), json={"logical_date": None})

    assert (refused.status_code, allowed.status_code) == (403, 200)


def test_a_token_of_airflow_s_own_is_judged_by_airflow(airflow: Airflow3) -> None:
    answer = call("POST", f"{airflow.url}/auth/token", json={"username": "viewer", "password": "viewer"})
    assert answer.status_code == 201, answer.text
    token = answer.json()["access_token"]

    good = call("GET", airflow.url + DAGS, headers={"Authorization": f"Bearer {token}"})
    bad = call("GET", airflow.url + DAGS, headers={"Authorization": f"Bearer {token[:-8]}AAAAAAAA"})

    assert (good.status_code, bad.status_code) == (200, 403)


def test_a_grant_of_keycloak_s_own_still_works(airflow: Airflow3) -> None:
    grant = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": CLIENT_SECRET}

    answer = call("POST", f"{airflow.url}/auth/token", json=grant)

    assert answer.status_code == 201, answer.text


def test_a_personal_token_cannot_be_made_and_the_reason_is_said(airflow: Airflow3) -> None:
    answer = call(
        "POST",
        f"{airflow.url}/compat-auth/api/personal-tokens",
        auth=("admin", "admin"),
        json={"name": "nightly", "scopes": ["read"]},
    )

    assert answer.status_code == 403, answer.text
    assert "KeycloakAuthManager makes no user from a name" in answer.json()["detail"]


def test_two_people_in_one_request_are_one(airflow: Airflow3) -> None:
    cookies = "_token=x; _access_token=y; _refresh_token=z"

    answer = call("GET", airflow.url + DAGS, auth=("viewer", "viewer"), headers={"Cookie": cookies})

    assert answer.status_code == 200, answer.text

"""The gateway in front of a live Airflow 3.3 with KeycloakAuthManager, by `exchange`."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from support.peers import seed
from support.peers.airflows import Airflow3
from support.peers.gateway import Gateway, StartGateway
from support.peers.keycloak_realm import CLIENT, CLIENT_SECRET, REALM, Realm, served_realm

pytestmark = pytest.mark.peer

MANAGER = "airflow.providers.keycloak.auth_manager.keycloak_auth_manager.KeycloakAuthManager"
KEYCLOAK = seed.Kind("keycloak", "airflow3-keycloak", MANAGER, seed.SIMPLE.commands)
DAGS = "/api/v2/dags"
RUNS = "/api/v2/dags/tiny/dagRuns"
# Younger tokens are not replaced at a plain 403.
YOUNG_S = 10


@pytest.fixture(scope="module")
def realm() -> Iterator[Realm]:
    with served_realm() as realm:
        yield realm


@pytest.fixture(scope="module")
def airflow(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow3]:
    airflow = Airflow3(KEYCLOAK, tmp_path_factory.mktemp("airflow_keycloak"))
    airflow.restart(
        AIRFLOW__KEYCLOAK_AUTH_MANAGER__SERVER_URL=realm.url,
        AIRFLOW__KEYCLOAK_AUTH_MANAGER__REALM=REALM,
        AIRFLOW__KEYCLOAK_AUTH_MANAGER__CLIENT_ID=CLIENT,
        AIRFLOW__KEYCLOAK_AUTH_MANAGER__CLIENT_SECRET=CLIENT_SECRET,
    )
    yield airflow
    airflow.stop()


@pytest.fixture
def instance(airflow: Airflow3, gateway: StartGateway) -> Gateway:
    return gateway(
        {
            "upstream": {"url": airflow.url},
            "token": {"strategy": "exchange"},
            "basic_auth": {"directories": ["upstream"], "cache_ttl_s": 600},
        }
    )


@pytest.mark.parametrize("path", [DAGS, "/api/v1/dags"])
@pytest.mark.parametrize("name", ["admin", "viewer", "crowd"])
def test_the_right_password_opens_whatever_number_of_roles_there_is(instance: Gateway, name: str, path: str) -> None:
    answer = instance.get(path, auth=(name, name))

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("options", [{"auth": ("admin", "no")}, {"json": {"username": "admin", "password": "no"}}])
def test_a_wrong_password_is_refused_and_not_called_an_outage(instance: Gateway, options: dict[str, object]) -> None:
    api = instance.get(DAGS, auth=("admin", "no"))
    token = instance.post("/auth/token", **options)

    assert (api.status_code, token.status_code) == (401, 401)


def test_a_permission_that_is_missing_stays_missing(instance: Gateway) -> None:
    refused = instance.post(RUNS, json={"logical_date": None}, auth=("viewer", "viewer"))
    allowed = instance.post(RUNS, json={"logical_date": None}, auth=("admin", "admin"))

    assert (refused.status_code, allowed.status_code) == (403, 200)


def test_a_large_token_can_be_shown_again_and_taken_back(instance: Gateway) -> None:
    token = instance.post("/auth/token", json={"username": "crowd", "password": "crowd"}).json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}

    before = instance.get(DAGS, headers=bearer)
    instance.post("/compat-auth/revoke", data={"token": token})
    time.sleep(1.5)
    after = instance.get(DAGS, headers=bearer)

    assert len(token) > 8192
    assert (before.status_code, after.status_code) == (200, 401)


def test_a_grant_of_keycloak_s_is_answered_by_airflow(instance: Gateway) -> None:
    grant = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": CLIENT_SECRET}

    right = instance.post("/auth/token", json=grant)
    wrong = instance.post("/auth/token", json={**grant, "client_secret": "x"})

    assert right.status_code == 201, right.text
    bearer = {"Authorization": f"Bearer {right.json()['access_token']}"}
    assert instance.get(DAGS, headers=bearer).status_code == 200
    assert wrong.status_code == 403


def test_a_token_is_replaced_when_the_one_within_ends(realm: Realm, airflow: Airflow3, gateway: StartGateway) -> None:
    instance = gateway(
        {
            "upstream": {"url": airflow.url},
            "token": {"strategy": "exchange"},
            "basic_auth": {"directories": ["upstream"], "cache_ttl_s": 599},
        }
    )
    realm.lifespan_s = 13
    try:
        before = instance.get(DAGS, auth=("admin", "admin")).status_code
        time.sleep(14)
        after = [instance.get(DAGS, auth=("admin", "admin")).status_code for _ in range(3)]
    finally:
        realm.lifespan_s = 300

    assert (before, after) == (200, [200] * 3)


def test_a_token_is_replaced_when_keycloak_has_ended_the_one_within(instance: Gateway, realm: Realm) -> None:
    before = instance.post(RUNS, json={"logical_date": None}, auth=("admin", "admin")).status_code
    realm.ended.add(realm.made["admin"])
    time.sleep(YOUNG_S)

    after = instance.post(RUNS, json={"logical_date": None}, auth=("admin", "admin"))

    assert (before, after.status_code) == (200, 200), (after.text, after.headers)


def test_who_lacks_a_permission_does_not_log_in_with_each_request(instance: Gateway, realm: Realm) -> None:
    instance.get(DAGS, auth=("viewer", "viewer"))
    time.sleep(YOUNG_S)
    known = realm.logins["viewer"]

    statuses = [
        instance.post(RUNS, json={"logical_date": None}, auth=("viewer", "viewer")).status_code for _ in range(5)
    ]

    assert statuses == [403] * 5
    # A renewal checks the password and then asks for a token.
    assert realm.logins["viewer"] - known <= 2

"""Modules that sites wrote for Airflow 2, unmodified: in Airflow 2.11 itself, and here in front of Airflow 3.3."""

import json
from pathlib import Path

import pytest

from support.peers.airflow2_as import Airflow2As
from support.peers.airflows import JWT_SECRET, Airflow2, Airflow3
from support.peers.fab import runs_of
from support.peers.gateway import Gateway, StartGateway, call
from support.peers.place import HERE

pytestmark = pytest.mark.peer

MODULES = "api_key_login,api_key_global"
KEYS = {
    "key-of-admin": {"username": "admin", "active": True},
    "key-of-viewer": {"username": "viewer", "active": True},
    "key-switched-off": {"username": "admin", "active": False},
    "key-of-ghost": {"username": "ghost", "active": True},
    "key-of-disabled": {"username": "disabled", "active": True},
}
IN_A_HEADER = "X-Api-Key: {}"
AS_A_SCHEME = "Authorization: ApiKey {}"
PLACES = pytest.mark.parametrize("place", [IN_A_HEADER, AS_A_SCHEME], ids=["flask-login", "g-user"])
REFUSED_KEYS = pytest.mark.parametrize("key", ["no-such-key", "key-switched-off", ""])


def presented(place: str, key: str) -> dict[str, str]:
    name, _, value = place.format(key).partition(": ")
    return {name: value}


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    file: Path = tmp_path_factory.mktemp("keys") / "keys.json"
    file.write_text(json.dumps(KEYS))
    return {"PYTHONPATH": str(HERE / "legacy_modules"), "SITE_API_KEYS": str(file)}


@pytest.fixture(scope="module")
def airflow2_with_modules(airflow2_as: Airflow2As, environ: dict[str, str]) -> Airflow2:
    return airflow2_as(auth_backends=MODULES, auth_role_public=None, **environ)


@pytest.fixture(scope="module")
def instance(airflow_fab: Airflow3, gateway: StartGateway, environ: dict[str, str]) -> Gateway:
    return gateway(
        {
            "auth_backends": MODULES,
            "upstream": {"url": airflow_fab.url, "protect": ["/api/", "/ui/"]},
            "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
            "airflow_db": {"url": airflow_fab.database_url},
        },
        environ,
    )


@PLACES
def test_airflow_2_lets_the_owner_of_a_key_in(airflow2_with_modules: Airflow2, place: str) -> None:
    headers = presented(place, "key-of-viewer")

    allowed = call("GET", f"{airflow2_with_modules.url}/api/v1/pools", headers=headers)
    forbidden = call("GET", f"{airflow2_with_modules.url}/api/v1/variables", headers=headers)

    assert allowed.status_code == 200
    assert forbidden.status_code == 403


@PLACES
@REFUSED_KEYS
def test_airflow_2_refuses_what_the_module_refuses(airflow2_with_modules: Airflow2, place: str, key: str) -> None:
    answer = call("GET", f"{airflow2_with_modules.url}/api/v1/pools", headers=presented(place, key))

    assert answer.status_code == 401


@PLACES
@pytest.mark.parametrize("name", ["admin", "viewer"])
def test_the_owner_of_a_key_reaches_airflow_3_as_himself(instance: Gateway, place: str, name: str) -> None:
    answer = instance.get("/ui/auth/me", headers=presented(place, f"key-of-{name}"))

    assert answer.status_code == 200, answer.text
    assert answer.json()["username"] == name


@PLACES
def test_airflow_3_decides_what_the_owner_of_a_key_may_do(instance: Gateway, place: str) -> None:
    headers = presented(place, "key-of-viewer")

    allowed = instance.get("/api/v2/dags", headers=headers)
    forbidden = instance.get("/api/v2/connections", headers=headers)

    assert allowed.status_code == 200
    assert forbidden.status_code == 403
    assert forbidden.json() == {"detail": "Forbidden"}


@PLACES
@REFUSED_KEYS
def test_the_gateway_refuses_what_the_module_refuses(instance: Gateway, place: str, key: str) -> None:
    answer = instance.get("/api/v2/dags", headers=presented(place, key))

    assert answer.status_code == 401
    assert "ApiKey" in answer.headers["WWW-Authenticate"].split(", ")


@PLACES
@pytest.mark.parametrize("name", ["ghost", "disabled"])
def test_whom_airflow_3_does_not_know_or_has_disabled_is_refused_whatever_a_module_says(
    instance: Gateway, place: str, name: str
) -> None:
    answer = instance.get("/api/v2/dags", headers=presented(place, f"key-of-{name}"))

    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "application/problem+json"


@PLACES
def test_a_key_is_good_for_its_own_request_only(instance: Gateway, place: str) -> None:
    with_key = instance.get("/api/v2/dags", headers=presented(place, "key-of-admin"))

    without = instance.get("/api/v2/dags")

    assert with_key.status_code == 200
    assert with_key.headers.get("Set-Cookie") is None
    assert without.status_code == 401


@PLACES
def test_a_key_triggers_one_run(instance: Gateway, airflow_fab: Airflow3, place: str) -> None:
    before = runs_of(airflow_fab, "tiny")

    answer = instance.post(
        "/api/v2/dags/tiny/dagRuns", json={"logical_date": None}, headers=presented(place, "key-of-admin")
    )

    assert answer.status_code == 200, answer.text
    assert runs_of(airflow_fab, "tiny") == before | {answer.json()["dag_run_id"]}

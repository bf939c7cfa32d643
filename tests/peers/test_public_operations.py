"""The table of public, guarded and passed paths agrees with the OpenAPI documents of a live Airflow 3.3, and with both places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from compat_auth.airflow_api.paths import FAB_API, treatment_of
from peers.test_gateway_simple import exchange
from support.peers import seed
from support.peers.airflows import Airflow3
from support.peers.fab import shared_secret
from support.peers.gateway import Gateway, StartGateway, call
from support.peers.plugin import StartPlugged

pytestmark = pytest.mark.peer

METHODS = ("get", "post", "put", "patch", "delete")
FRIEND = "https://friend.example"
CORS = {
    "AIRFLOW__API__ACCESS_CONTROL_ALLOW_ORIGINS": FRIEND,
    "AIRFLOW__API__ACCESS_CONTROL_ALLOW_METHODS": "GET, POST, PATCH",
    "AIRFLOW__API__ACCESS_CONTROL_ALLOW_HEADERS": "authorization, content-type",
}
PREFLIGHT = {
    "Origin": FRIEND,
    "Access-Control-Request-Method": "PATCH",
    "Access-Control-Request-Headers": "authorization",
}


def operations(document: dict[str, Any], below: str = "") -> Iterator[tuple[str, str, bool]]:
    """Yield method, path and whether it needs a login of every operation."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method.upper(), below + path, bool(item[method].get("security"))


def public_of(airflow: Airflow3, document: str) -> set[tuple[str, str]]:
    """Return the operations of the public API that Airflow answers to nobody, as its document says and as it does."""
    found = operations(call("GET", airflow.url + document).json())
    return {(method, path) for method, path, needs_login in found if not needs_login and path.startswith("/api/")}


@pytest.mark.parametrize("kind", ["airflow_fab", "airflow_simple"])
def test_every_operation_that_airflow_shows_to_everybody_is_decided_about(
    request: pytest.FixtureRequest, kind: str
) -> None:
    airflow: Airflow3 = request.getfixturevalue(kind)

    public = public_of(airflow, "/openapi.json")

    assert {path: treatment_of(path) for _, path in public} == {
        "/api/v2/version": "public",
        "/api/v2/monitor/health": "public",
        "/api/v2/auth/login": "passed",
    }


@pytest.mark.parametrize("kind", ["airflow_fab", "airflow_simple"])
def test_every_operation_that_needs_a_login_is_guarded(request: pytest.FixtureRequest, kind: str) -> None:
    airflow: Airflow3 = request.getfixturevalue(kind)

    found = {path for _, path, needs in operations(call("GET", f"{airflow.url}/openapi.json").json()) if needs}

    # Airflow judges by its own cookie there, and ends that login.
    assert {path for path in found if treatment_of(path) != "guarded"} == {"/api/v2/auth/logout"}
    assert len(found) > 50


def test_the_users_and_roles_of_fab_are_guarded_and_its_token_and_logout_pages_are_not(airflow_fab: Airflow3) -> None:
    document = call("GET", f"{airflow_fab.url}/auth/openapi.json").json()

    found = {path: treatment_of(path) for _, path, _ in operations(document, "/auth")}

    assert {path for path, treatment in found.items() if treatment == "guarded"} == {
        path for path in found if path.startswith(FAB_API)
    }
    assert {path: treatment for path, treatment in found.items() if not path.startswith(FAB_API)} == {
        "/auth/token": "token",
        "/auth/token/cli": "token",
        "/auth/logout": "passed",
    }


@pytest.fixture(scope="module")
def in_front_of_fab(airflow_fab: Airflow3, gateway: StartGateway) -> Gateway:
    return gateway(shared_secret(airflow_fab))


@pytest.mark.parametrize("path", ["/api/v2/version", "/api/v2/monitor/health", "/api/v2/auth/login"])
def test_the_gateway_answers_nobody_as_airflow_does(in_front_of_fab: Gateway, airflow_fab: Airflow3, path: str) -> None:
    ours, theirs = in_front_of_fab.get(path), call("GET", airflow_fab.url + path)

    assert ours.status_code == theirs.status_code
    assert ours.status_code in {200, 307}
    assert in_front_of_fab.get(path, auth=("admin", "wrong")).status_code in {401, 307}


def test_users_and_roles_of_fab_take_a_password_in_the_gateway(in_front_of_fab: Gateway) -> None:
    path = f"{FAB_API}users"

    good, wrong, nothing = (
        in_front_of_fab.get(path, auth=auth) for auth in (("admin", "admin"), ("admin", "wrong"), None)
    )

    assert (good.status_code, wrong.status_code, nothing.status_code) == (200, 401, 401)
    assert "admin" in {user["username"] for user in good.json()["users"]}
    assert "Basic" in nothing.headers["WWW-Authenticate"]


def cors_of(url: str, path: str, method: str = "GET", **options: Any) -> tuple[int, str | None]:
    headers = {"Origin": FRIEND, **options.pop("headers", {})}
    answer = call(method, url + path, headers=headers, **options)
    return answer.status_code, answer.headers.get("Access-Control-Allow-Origin")


@pytest.fixture(scope="module")
def plugged(plugged_airflow: StartPlugged) -> str:
    return plugged_airflow(seed.SIMPLE, AIRFLOW__API__AUTH_BACKENDS="airflow.api.auth.backend.basic_auth", **CORS).url


@pytest.fixture(scope="module")
def in_front_of_cors(airflow_simple: Airflow3, gateway: StartGateway) -> Iterator[str]:
    with airflow_simple.changed(**CORS):
        yield gateway({"auth_backends": ["basic_auth"], **exchange(airflow_simple)}).url


@pytest.mark.parametrize("place", ["in_front_of_cors", "plugged"])
def test_a_page_of_an_allowed_origin_can_read_every_answer(request: pytest.FixtureRequest, place: str) -> None:
    url: str = request.getfixturevalue(place)

    preflights = [
        cors_of(url, path, "OPTIONS", headers=PREFLIGHT) for path in ("/api/v2/dags", "/api/v1/dags", "/auth/token")
    ]
    refusals = [cors_of(url, path, auth=("admin", "wrong")) for path in ("/api/v2/dags", "/api/v1/dags")]
    answers = [cors_of(url, path, auth=("admin", "admin")) for path in ("/api/v2/dags", "/api/v1/dags")]
    token = cors_of(
        url,
        "/auth/token",
        "POST",
        json={"username": "admin", "password": "admin"},
        headers={"Sec-Fetch-Site": "cross-site"},
    )

    assert preflights == [(200, FRIEND)] * 3
    assert refusals == [(401, FRIEND)] * 2
    assert answers == [(200, FRIEND)] * 2
    assert token == (201, FRIEND)


@pytest.mark.parametrize("place", ["in_front_of_cors", "plugged"])
def test_a_page_of_another_origin_can_read_none(request: pytest.FixtureRequest, place: str) -> None:
    url: str = request.getfixturevalue(place)
    evil = {"Origin": "https://evil.example"}

    preflight = cors_of(url, "/api/v2/dags", "OPTIONS", headers={**PREFLIGHT, **evil})
    refusal = cors_of(url, "/api/v2/dags", auth=("admin", "wrong"), headers=evil)
    login = {"username": "admin", "password": "admin"}
    token = cors_of(url, "/auth/token", "POST", json=login, headers={**evil, "Sec-Fetch-Site": "cross-site"})

    assert preflight == (400, None)
    assert refusal == (401, None)
    assert token[1] is None

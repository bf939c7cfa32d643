"""`/auth/token` of a real gateway: what it gives is what a live Airflow 3.3 takes, by every strategy and backend."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from peers.test_gateway_simple import exchange as simple_exchange
from peers.test_gateway_simple import shared_secret as simple_shared_secret
from support.peers.airflows import JWT_SECRET, Airflow3
from support.peers.echo import EchoUpstream
from support.peers.fab import Deployment, deploy, exchange, shared_secret
from support.peers.gateway import StartGateway, call, curl
from support.peers.kerberos import Kdc
from support.peers.kerberos_client import Tickets
from support.peers.openid_provider import AUDIENCE, OpenIdProvider, resource
from support.peers.openid_users import gateway_settings
from support.peers.seed import SIMPLE_USERS

pytestmark = pytest.mark.peer

DAGS = "/api/v2/dags"
CONNECTIONS = "/api/v2/connections"
DAY_S, HOUR_S = 86400, 3600
DOORS = [pytest.param("/auth/token", DAY_S, id="token"), pytest.param("/auth/token/cli", HOUR_S, id="cli")]
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


@pytest.fixture(scope="module", params=["exchange", "shared_secret", "key_pair-file"])
def deployment(
    request: pytest.FixtureRequest,
    airflow_fab: Airflow3,
    keyed_airflow: Airflow3,
    gateway: StartGateway,
    tmp_path_factory: pytest.TempPathFactory,
) -> Deployment:
    """Each strategy in turn, before an Airflow with FabAuthManager."""
    return deploy(request.param, airflow_fab, keyed_airflow, gateway, tmp_path_factory.mktemp("keys"))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def lifetime_s(token: str) -> float:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return float(claims["exp"] - time.time())


@pytest.mark.parametrize(("path", "expected_s"), DOORS)
def test_airflow_itself_takes_what_the_door_gives(deployment: Deployment, path: str, expected_s: int) -> None:
    given = deployment.gateway.post(path, json={"username": "admin", "password": "admin"})
    token = given.json()["access_token"]

    direct = call("GET", deployment.airflow.url + DAGS, headers=bearer(token))
    through = deployment.gateway.get(CONNECTIONS, headers=bearer(token))

    assert (given.status_code, list(given.json())) == (201, ["access_token"])
    assert (direct.status_code, through.status_code) == (200, 200)
    assert expected_s - 30 < lifetime_s(token) <= expected_s


@pytest.mark.parametrize(
    "how", [{"data": {"username": "viewer", "password": "viewer"}}, {"auth": ("viewer", "viewer")}]
)
def test_a_form_and_a_basic_header_are_the_same_user(deployment: Deployment, how: dict[str, Any]) -> None:
    given = deployment.gateway.post("/auth/token", **how)
    token = given.json()["access_token"]

    dags = deployment.gateway.get(DAGS, headers=bearer(token))
    connections = deployment.gateway.get(CONNECTIONS, headers=bearer(token))

    assert (dags.status_code, connections.status_code) == (200, 403)


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"username": "admin", "password": "wrong"}, 401, "Invalid credentials"),
        ({"username": "nobody", "password": "admin"}, 401, "Invalid credentials"),
        ({"username": "disabled", "password": "disabled"}, 401, "Invalid credentials"),
        ({"username": "admin"}, 400, "Username and password must be provided"),
        ({"username": "admin", "password": ""}, 400, "Username and password must be provided"),
        ({}, 400, "Username and password must be provided"),
    ],
)
def test_a_refusal_has_airflows_own_status_and_detail(
    deployment: Deployment, body: dict[str, str], status: int, detail: str
) -> None:
    ours = deployment.gateway.post("/auth/token", json=body)
    airflows = call("POST", f"{deployment.airflow.url}/auth/token", json=body)

    assert (ours.status_code, ours.json()["detail"]) == (status, detail)
    assert (airflows.status_code, airflows.json()["detail"]) == (status, detail)


def test_what_makes_airflow_fail_is_a_refusal_here(deployment: Deployment) -> None:
    answer = deployment.gateway.post("/auth/token", json={"username": "admin", "password": 7})

    assert answer.status_code == 400


@pytest.mark.parametrize(("path", "expected_s"), DOORS)
@pytest.mark.parametrize("strategy", ["exchange", "shared_secret"])
def test_the_simple_auth_manager_takes_it_too(
    airflow_simple: Airflow3, gateway: StartGateway, tmp_path: Path, path: str, expected_s: int, strategy: str
) -> None:
    by_exchange = strategy == "exchange"
    settings = simple_exchange(airflow_simple) if by_exchange else simple_shared_secret(airflow_simple, tmp_path)
    instance = gateway(settings)
    tokens = {
        name: instance.post(path, data={"username": name, "password": name}).json()["access_token"]
        for name in SIMPLE_USERS
    }

    statuses = {name: call("GET", airflow_simple.url + CONNECTIONS, headers=bearer(tokens[name])) for name in tokens}

    assert {name: answer.status_code for name, answer in statuses.items()} == {
        "admin": 200,
        "op": 200,
        "user": 403,
        "viewer": 403,
    }
    assert expected_s - 30 < lifetime_s(tokens["admin"]) <= expected_s


def test_a_missing_field_is_worded_as_the_simple_auth_manager_does(
    airflow_simple: Airflow3, gateway: StartGateway
) -> None:
    instance = gateway(simple_exchange(airflow_simple))

    answers = [
        call("POST", f"{url}/auth/token", json={"username": "admin"}) for url in (instance.url, airflow_simple.url)
    ]

    assert [answer.status_code for answer in answers] == [422, 422]


def test_curl_gets_a_token_with_a_ticket_and_airflow_takes_it(
    airflow_fab: Airflow3, gateway: StartGateway, kdc: Kdc
) -> None:
    settings = shared_secret(airflow_fab)
    keytab, replays = kdc.keytab("HTTP/localhost"), kdc.folder / "replays-token"
    instance = gateway(
        {
            **settings,
            "auth_backends": ["kerberos", "basic_auth"],
            "kerberos": {"keytab": str(keytab), "replay_cache": str(replays)},
        },
        kdc.env,
    )
    url = instance.url.replace("127.0.0.1", "localhost")
    command = ["curl", "--silent", "--noproxy", "*", "--negotiate", "--user", ":", "-X", "POST", f"{url}/auth/token"]

    done = subprocess.run(
        command, env={**os.environ, **Tickets(kdc).environ("jürgen")}, capture_output=True, check=True, timeout=60
    )

    token = done.stdout.decode().partition('"access_token": "')[2].partition('"')[0]
    answer = call("GET", airflow_fab.url + DAGS, headers=bearer(token))
    assert answer.status_code == 200


def test_a_strategy_that_needs_a_password_says_no_to_a_ticket(
    airflow_fab: Airflow3, gateway: StartGateway, kdc: Kdc
) -> None:
    keytab, replays = kdc.keytab("HTTP/localhost"), kdc.folder / "replays-token-2"
    instance = gateway(
        {
            **exchange(airflow_fab),
            "auth_backends": ["kerberos", "basic_auth"],
            "kerberos": {"keytab": str(keytab), "replay_cache": str(replays)},
        },
        kdc.env,
    )
    url = instance.url.replace("127.0.0.1", "localhost")
    command = ["curl", "--silent", "--noproxy", "*", "--negotiate", "--user", ":", "-o", os.devnull, "-w"]

    done = subprocess.run(
        [*command, "%{http_code}", "-X", "POST", f"{url}/auth/token"],
        env={**os.environ, **Tickets(kdc).environ("jürgen")},
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert done.stdout == b"403"


def test_a_providers_access_token_is_exchanged_for_one_that_ends_no_later(
    gateway: StartGateway, oidc_provider: OpenIdProvider, echo_upstream: EchoUpstream, airflow_users: str
) -> None:
    issuer = {"issuer": oidc_provider.issuer, "audience": AUDIENCE, "username_claim": "preferred_username"}
    instance = gateway(gateway_settings(echo_upstream, airflow_users, ["oidc"], oidc={"issuers": [issuer]}))
    subject = oidc_provider.access_token("alice", resource=resource())
    form = {"grant_type": GRANT, "subject_token": subject, "subject_token_type": ACCESS_TOKEN}

    answer = curl(
        "-X",
        "POST",
        *(part for field in form.items() for part in ("-d", "=".join(field))),
        f"{instance.url}/auth/token",
    )

    claims = jwt.decode(answer.json()["access_token"], JWT_SECRET, algorithms=["HS512"], audience="apache-airflow")
    assert (answer.status, answer.json()["token_type"], claims["sub"]) == (200, "Bearer", "1")
    assert claims["exp"] <= jwt.decode(subject, options={"verify_signature": False})["exp"]

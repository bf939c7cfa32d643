"""Clients that nobody here wrote, at the doors of OAuth: Authlib exchanges, asks about and takes back tokens of Airflow 3.3."""

from __future__ import annotations

import importlib
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests

from peers.test_gateway_simple import shared_secret as simple_shared_secret
from peers.test_login_fab import log_in as log_in_to_gateway
from support.peers.airflows import Airflow3
from support.peers.echo import EchoUpstream
from support.peers.fab import Deployment, deploy, shared_secret
from support.peers.gateway import Gateway, StartGateway, call, curl
from support.peers.openid_provider import AUDIENCE, OpenIdProvider, resource
from support.peers.openid_users import gateway_settings

pytestmark = pytest.mark.peer

# Without types of its own.
OAuth2Session: Any = importlib.import_module("authlib.integrations.requests_client").OAuth2Session
DAGS = "/api/v2/dags"
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


def client(instance: Gateway, username: str = "", password: str = "") -> Any:
    """Return a client that calls itself by a user's name, so that its Basic is that user's."""
    method = "client_secret_basic" if username else "none"
    session = OAuth2Session(username, password, token_endpoint_auth_method=method)
    session.trust_env = False
    session.metadata.update(instance.get("/.well-known/oauth-authorization-server").json())
    return session


def log_in(instance: Gateway, name: str) -> str:
    token: str = instance.post("/auth/token", json={"username": name, "password": name}).json()["access_token"]
    return token


def status(url: str, token: str) -> int:
    return call("GET", url + DAGS, headers={"Authorization": f"Bearer {token}"}).status_code


def revoked_in(airflow: Airflow3) -> set[str]:
    with closing(sqlite3.connect(airflow.home / "airflow.db")) as database:
        return {row[0] for row in database.execute("SELECT jti FROM revoked_token")}


def jti_of(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["jti"])


def test_a_token_that_authlib_takes_back_is_dead_at_the_gateway_and_in_airflow(deployment: Deployment) -> None:
    instance, airflow = deployment.gateway, deployment.airflow
    token, other = log_in(instance, "viewer"), log_in(instance, "viewer")
    before = [status(url, token) for url in (instance.url, airflow.url)]
    session = client(instance)

    answer = session.revoke_token(session.metadata["revocation_endpoint"], token=token)

    assert (before, answer.status_code) == ([200, 200], 200)
    assert (status(instance.url, token), status(airflow.url, token)) == (401, 403)
    assert jti_of(token) in revoked_in(airflow)
    assert (status(instance.url, other), status(airflow.url, other)) == (200, 200)


def test_a_token_of_airflows_own_is_taken_back_there(deployment: Deployment) -> None:
    airflow = deployment.airflow
    own = call("POST", f"{airflow.url}/auth/token", json={"username": "viewer", "password": "viewer"})
    token = own.json()["access_token"]
    before = status(deployment.gateway.url, token)

    answer = curl("-d", f"token={token}", f"{deployment.gateway.url}/compat-auth/revoke")

    assert (before, answer.status, answer.body) == (200, 200, b"")
    assert status(deployment.gateway.url, token) in (401, 403)
    assert status(airflow.url, token) == 403


def test_authlib_learns_about_its_own_token_and_nobody_elses(deployment: Deployment) -> None:
    instance = deployment.gateway
    token = log_in(instance, "viewer")

    told = {}
    for name in ("viewer", "admin"):
        session = client(instance, name, name)
        told[name] = session.introspect_token(session.metadata["introspection_endpoint"], token=token).json()

    assert told["viewer"]["active"] is True
    assert (told["viewer"]["username"], told["viewer"]["jti"]) == ("viewer", jti_of(token))
    assert told["admin"] == {"active": False}


def test_authlib_exchanges_a_providers_token_and_takes_that_back_too(
    gateway: StartGateway, oidc_provider: OpenIdProvider, echo_upstream: EchoUpstream, airflow_users: str
) -> None:
    issuer = {"issuer": oidc_provider.issuer, "audience": AUDIENCE, "username_claim": "preferred_username"}
    settings = gateway_settings(echo_upstream, airflow_users, ["oidc"], oidc={"issuers": [issuer]})
    settings["upstream"] = {**settings["upstream"], "profile": "generic"}
    instance = gateway(settings)
    subject = oidc_provider.access_token("alice", resource=resource())
    session = client(instance)

    given = session.fetch_token(
        session.metadata["token_endpoint"], grant_type=GRANT, subject_token=subject, subject_token_type=ACCESS_TOKEN
    )
    before = status(instance.url, subject)
    session.revoke_token(session.metadata["revocation_endpoint"], token=subject)

    assert (given["token_type"], given["issued_token_type"]) == ("Bearer", ACCESS_TOKEN)
    assert (before, status(instance.url, subject)) == (200, 401)


def test_the_simple_auth_manager_writes_it_down_as_well(
    airflow_simple: Airflow3, gateway: StartGateway, tmp_path: Path
) -> None:
    instance = gateway(simple_shared_secret(airflow_simple, tmp_path))
    token = log_in(instance, "op")

    answer = curl("-d", f"token={token}", f"{instance.url}/compat-auth/revoke")

    assert answer.status == 200
    assert (status(instance.url, token), status(airflow_simple.url, token)) == (401, 403)
    assert jti_of(token) in revoked_in(airflow_simple)


def test_a_logout_reaches_airflow_and_what_was_made_from_the_session(
    airflow_fab: Airflow3, gateway: StartGateway
) -> None:
    settings = shared_secret(airflow_fab)
    settings["session"] = {"secret": "a secret for nothing but the test of logging out"}
    instance = gateway(settings)
    with requests.Session() as browser:
        browser.trust_env = False
        log_in_to_gateway(instance, browser, "viewer", "viewer")
        cookie = browser.cookies["_token"]
        made = browser.post(f"{instance.url}/auth/token", headers={"Sec-Fetch-Site": "same-origin"}).json()[
            "access_token"
        ]
        before = [status(url, token) for url in (instance.url, airflow_fab.url) for token in (cookie, made)]
        page = browser.get(f"{instance.url}/compat-auth/logout").text
        (form_token,) = re.findall(r'name="token" value="([^"]*)"', page)

        answer = browser.post(f"{instance.url}/compat-auth/logout", data={"token": form_token}, allow_redirects=False)

    assert (before, answer.status_code) == ([200] * 4, 303)
    assert [status(instance.url, token) for token in (cookie, made)] == [401, 401]
    assert [status(airflow_fab.url, token) for token in (cookie, made)] == [403, 403]
    assert instance.get(DAGS, auth=("viewer", "viewer")).status_code == 200

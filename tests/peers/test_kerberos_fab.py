"""Tickets in front of a live Airflow 3.3 with FAB: the user in Airflow is the user in the realm."""

from __future__ import annotations

import os
import subprocess

import pytest
import requests_kerberos

from support.peers.airflows import JWT_SECRET, Airflow3
from support.peers.gateway import Gateway, StartGateway, call
from support.peers.kerberos import Kdc
from support.peers.kerberos_client import Tickets, negotiate

pytestmark = pytest.mark.peer

CURL_S = 60


@pytest.fixture(scope="module")
def tickets(kdc: Kdc) -> Tickets:
    return Tickets(kdc)


@pytest.fixture(scope="module")
def instance(airflow_fab: Airflow3, gateway: StartGateway, kdc: Kdc) -> Gateway:
    return gateway(
        {
            "auth_backends": "airflow.providers.fab.auth_manager.api.auth.backend.kerberos_auth,basic_auth",
            "upstream": {"url": airflow_fab.url},
            "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
            "basic_auth": {"directories": ["airflow_db"]},
            "airflow_db": {"url": airflow_fab.database_url},
            "kerberos": {"keytab": str(kdc.keytab("HTTP/localhost")), "replay_cache": str(kdc.folder / "replays-fab")},
        },
        kdc.env,
    )


@pytest.fixture(scope="module")
def url(instance: Gateway) -> str:
    return instance.url.replace("127.0.0.1", "localhost")


def test_curl_reads_airflow_s_dags_with_a_ticket(url: str, tickets: Tickets) -> None:
    command = ["curl", "--silent", "--fail", "--noproxy", "*", "--negotiate", "--user", ":", f"{url}/api/v2/dags"]

    done = subprocess.run(
        command, env={**os.environ, **tickets.environ("jürgen")}, capture_output=True, check=True, timeout=CURL_S
    )

    assert b'"dag_id":"tiny"' in done.stdout


def test_a_client_that_wants_to_be_sure_of_the_server_reads_airflow_s_dags(
    url: str, tickets: Tickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in tickets.environ("jürgen").items():
        monkeypatch.setenv(name, value)
    auth = requests_kerberos.HTTPKerberosAuth(mutual_authentication=requests_kerberos.REQUIRED)

    answer = call("GET", f"{url}/api/v2/dags", auth=auth)

    assert answer.status_code == 200
    assert {dag["dag_id"] for dag in answer.json()["dags"]} == {"tiny", "tiny_daily"}


def test_the_identity_is_airflow_s_own_user(url: str, tickets: Tickets) -> None:
    who = call("GET", f"{url}/compat-auth/whoami", headers=negotiate(tickets.token("jürgen"))).json()

    assert (who["username"], who["email"], who["directory"]) == ("jürgen", "juergen@example.com", "airflow_db")


@pytest.mark.parametrize("user", ["disabled", "unknown", "alice/admin"])
def test_who_is_no_active_user_of_airflow_stays_out(url: str, tickets: Tickets, user: str) -> None:
    answer = call("GET", f"{url}/api/v2/dags", headers=negotiate(tickets.token(user)))

    assert answer.status_code == 403
    assert "dags" not in answer.text

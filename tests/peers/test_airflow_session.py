"""The login cookie of a live Airflow's own UI, 2.11 and 3.3."""

from __future__ import annotations

import time

import pytest

from compat_auth_backends.airflow_session import AirflowSessions
from compat_auth_backends.directories.airflow_db import AirflowDatabaseDirectory
from support.peers.airflows import Airflow2, Airflow3
from support.peers.fab import changed_user, log_in_to_ui, shared_secret
from support.peers.gateway import StartGateway, call

pytestmark = pytest.mark.peer

SECRET_KEY = "peer-secret-key-0123456789abcdef0123456789"
DAGS = "/api/v2/dags"


def name_of(airflow: Airflow2 | Airflow3, cookie: str, key: str = SECRET_KEY) -> str | None:
    directory = AirflowDatabaseDirectory(airflow.database_url)
    user = AirflowSessions(key, directory).find_user([cookie])
    directory.close()
    return user.username if user is not None else None


def test_the_cookie_of_airflow_2_says_who_is_logged_in(airflow2: Airflow2) -> None:
    cookie = log_in_to_ui(f"{airflow2.url}/login/", "viewer", "viewer")["session"]

    assert name_of(airflow2, cookie) == "viewer"
    assert name_of(airflow2, cookie, key="another key of another Airflow") is None


def test_the_cookie_of_airflow_3_says_who_is_logged_in(airflow_fab: Airflow3) -> None:
    cookie = log_in_to_ui(f"{airflow_fab.url}/auth/login/", "viewer", "viewer")["session"]

    assert name_of(airflow_fab, cookie) == "viewer"
    assert name_of(airflow_fab, cookie, key="another key of another Airflow") is None


def test_the_cookie_opens_the_api_behind_the_gateway(airflow_fab: Airflow3, gateway: StartGateway) -> None:
    instance = gateway({**shared_secret(airflow_fab), "airflow_session": {"secret_key": SECRET_KEY}})
    cookies = {"session": log_in_to_ui(f"{airflow_fab.url}/auth/login/", "viewer", "viewer")["session"]}

    accepted = call("GET", f"{instance.url}{DAGS}", cookies=cookies)
    forged = call("POST", f"{instance.url}{DAGS}", cookies=cookies, headers={"Origin": "https://evil.example"})
    with changed_user(airflow_fab, "viewer", active=False):
        # The session that was accepted a moment ago ends within a second.
        time.sleep(1)
        disabled = call("GET", f"{instance.url}{DAGS}", cookies=cookies)

    assert (accepted.status_code, forged.status_code, disabled.status_code) == (200, 403, 403)

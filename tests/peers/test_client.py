"""Scripts with the client's libraries in front of a live Airflow 3.3, through the gateway and without it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from math import inf
from typing import Any

import httpx
import pytest
import requests

from compat_auth.client import Password
from compat_auth.client.for_httpx import HttpxAuth
from compat_auth.client.for_requests import RequestsAuth
from compat_auth.errors import LoginRefused
from peers.airflows import Airflow3
from peers.fab import runs_of, shared_secret
from peers.gateway import Gateway, StartGateway

pytestmark = pytest.mark.peer

ADMIN = Password("admin", "admin")
DAGS = "/api/v2/dags"
RUNS = "/api/v2/dags/tiny/dagRuns"
BODY = {"logical_date": None, "conf": {"word": "grüße"}}


@pytest.fixture(scope="module")
def door(airflow_fab: Airflow3, gateway: StartGateway) -> Gateway:
    return gateway(shared_secret(airflow_fab))


def dags_of(answer: Any) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {dag["dag_id"] for dag in answer.json()["dags"]}


def test_requests_reads_dags_and_triggers_a_run(door: Gateway, airflow_fab: Airflow3) -> None:
    before = runs_of(airflow_fab, "tiny")

    with requests.Session() as session:
        session.auth = RequestsAuth(door.url, ADMIN)
        dags = session.get(f"{door.url}{DAGS}")
        run = session.post(f"{door.url}{RUNS}", json=BODY)

    assert dags_of(dags) == {"tiny", "tiny_daily"}
    assert run.json()["conf"] == BODY["conf"]
    assert runs_of(airflow_fab, "tiny") == before | {run.json()["dag_run_id"]}


def test_httpx_reads_dags_and_triggers_a_run(door: Gateway, airflow_fab: Airflow3) -> None:
    before = runs_of(airflow_fab, "tiny")

    with httpx.Client(base_url=door.url, auth=HttpxAuth(door.url, ADMIN), timeout=60) as client:
        dags = client.get(DAGS)
        run = client.post(RUNS, json=BODY)

    assert dags_of(dags) == {"tiny", "tiny_daily"}
    assert runs_of(airflow_fab, "tiny") == before | {run.json()["dag_run_id"]}


def test_asynchronous_httpx_reads_dags_many_times_with_one_login(door: Gateway, airflow_fab: Airflow3) -> None:
    before = logins_of(airflow_fab, "admin")

    async def read_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=door.url, auth=HttpxAuth(door.url, ADMIN), timeout=60) as client:
            return await asyncio.gather(*(client.get(DAGS) for _ in range(8)))

    answers = asyncio.run(read_all())

    assert [dags_of(answer) for answer in answers] == [{"tiny", "tiny_daily"}] * 8
    assert logins_of(airflow_fab, "admin") <= before + 1


def test_the_same_script_works_at_airflow_itself(airflow_fab: Airflow3) -> None:
    answer = requests.get(f"{airflow_fab.url}{DAGS}", auth=RequestsAuth(airflow_fab.url, ADMIN), timeout=60)

    assert dags_of(answer) == {"tiny", "tiny_daily"}


def test_a_wrong_password_is_refused(door: Gateway) -> None:
    auth = RequestsAuth(door.url, Password("admin", "wrong"))

    with pytest.raises(LoginRefused):
        requests.get(f"{door.url}{DAGS}", auth=auth, timeout=60)


def test_a_disabled_user_is_refused(door: Gateway) -> None:
    auth = HttpxAuth(door.url, Password("disabled", "disabled"))

    with pytest.raises(LoginRefused):
        httpx.get(f"{door.url}{DAGS}", auth=auth, timeout=60)


def test_a_token_that_ends_while_a_script_runs_is_renewed(airflow_fab: Airflow3) -> None:
    answers: list[Any] = []
    with airflow_fab.changed(AIRFLOW__API_AUTH__JWT_EXPIRATION_TIME="5", AIRFLOW__API_AUTH__JWT_LEEWAY="0"):
        auths: list[Any] = [RequestsAuth(airflow_fab.url, ADMIN), HttpxAuth(airflow_fab.url, ADMIN)]
        first = [auth._keeper.obtain() for auth in auths]
        for auth in auths:
            # As if the script's clock stood still: it learns only by the 401 that the token has ended.
            auth._keeper._kept = replace(auth._keeper._kept, got_at=0.0, renew_at=inf, ends_at=inf)
        wait_until_it_ends(airflow_fab, first[-1])

        answers.append(requests.get(f"{airflow_fab.url}{DAGS}", auth=auths[0], timeout=60))
        answers.append(httpx.get(f"{airflow_fab.url}{DAGS}", auth=auths[1], timeout=60))

    assert [dags_of(answer) for answer in answers] == [{"tiny", "tiny_daily"}] * 2
    assert [answer.request.headers["Authorization"][7:] in first for answer in answers] == [False, False]


def wait_until_it_ends(airflow: Airflow3, token: str) -> None:
    give_up_at = time.monotonic() + 60
    while True:
        answer = requests.get(f"{airflow.url}{DAGS}", headers={"Authorization": f"Bearer {token}"}, timeout=60)
        if answer.status_code == 401:
            return
        assert time.monotonic() < give_up_at, f"the token does not end: {answer.text}"
        time.sleep(0.5)


def logins_of(airflow: Airflow3, username: str) -> int:
    with closing(sqlite3.connect(airflow.database_url.removeprefix("sqlite:///"), timeout=30)) as database:
        row = database.execute("SELECT login_count FROM ab_user WHERE username = ?", (username,)).fetchone()
    return int(row[0] or 0)

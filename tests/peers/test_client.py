"""Scripts with the client's libraries in front of a live Airflow 3.3, through the gateway and without it."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import jwt
import pytest
import requests
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState

from compat_auth.client import Password
from compat_auth.client.for_httpx import HttpxAuth
from compat_auth.client.for_requests import RequestsAuth
from compat_auth.client.kerberos import Kerberos
from compat_auth.errors import LoginRefused, LoginUnavailable
from support.peers.airflows import JWT_SECRET, Airflow3
from support.peers.fab import runs_of, shared_secret
from support.peers.gateway import COMMAND, Gateway, StartGateway, run_compat_auth, toml
from support.peers.kerberos import Kdc
from support.peers.kerberos_client import Tickets
from support.security.upstream import Arrived, Recorder, recording_upstream
from support.token_server import serving

pytestmark = pytest.mark.peer

ADMIN = Password("admin", "admin")
DAGS = "/api/v2/dags"
RUNS = "/api/v2/dags/tiny/dagRuns"
BODY = {"logical_date": None, "conf": {"word": "grüße"}}


@pytest.fixture(scope="module")
def instance(airflow_fab: Airflow3, gateway: StartGateway) -> Gateway:
    return gateway(shared_secret(airflow_fab))


def dags_of(answer: Any) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {dag["dag_id"] for dag in answer.json()["dags"]}


def test_requests_reads_dags_and_triggers_a_run(instance: Gateway, airflow_fab: Airflow3) -> None:
    before = runs_of(airflow_fab, "tiny")

    with requests.Session() as session:
        session.auth = RequestsAuth(instance.url, ADMIN)
        dags = session.get(f"{instance.url}{DAGS}")
        run = session.post(f"{instance.url}{RUNS}", json=BODY)

    assert dags_of(dags) == {"tiny", "tiny_daily"}
    assert run.json()["conf"] == BODY["conf"]
    assert runs_of(airflow_fab, "tiny") == before | {run.json()["dag_run_id"]}


def test_httpx_reads_dags_and_triggers_a_run(instance: Gateway, airflow_fab: Airflow3) -> None:
    before = runs_of(airflow_fab, "tiny")

    with httpx.Client(base_url=instance.url, auth=HttpxAuth(instance.url, ADMIN), timeout=60) as client:
        dags = client.get(DAGS)
        run = client.post(RUNS, json=BODY)

    assert dags_of(dags) == {"tiny", "tiny_daily"}
    assert runs_of(airflow_fab, "tiny") == before | {run.json()["dag_run_id"]}


def test_asynchronous_httpx_reads_dags_many_times_with_one_login(instance: Gateway, airflow_fab: Airflow3) -> None:
    before = logins_of(airflow_fab, "admin")

    async def read_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=instance.url, auth=HttpxAuth(instance.url, ADMIN), timeout=60) as client:
            return await asyncio.gather(*(client.get(DAGS) for _ in range(8)))

    answers = asyncio.run(read_all())

    assert [dags_of(answer) for answer in answers] == [{"tiny", "tiny_daily"}] * 8
    assert logins_of(airflow_fab, "admin") <= before + 1


def test_the_same_script_works_at_airflow_itself(airflow_fab: Airflow3) -> None:
    answer = requests.get(f"{airflow_fab.url}{DAGS}", auth=RequestsAuth(airflow_fab.url, ADMIN), timeout=60)

    assert dags_of(answer) == {"tiny", "tiny_daily"}


def test_a_wrong_password_is_refused(instance: Gateway) -> None:
    auth = RequestsAuth(instance.url, Password("admin", "wrong"))

    with pytest.raises(LoginRefused):
        requests.get(f"{instance.url}{DAGS}", auth=auth, timeout=60)


def test_a_disabled_user_is_refused(instance: Gateway) -> None:
    auth = HttpxAuth(instance.url, Password("disabled", "disabled"))

    with pytest.raises(LoginRefused):
        httpx.get(f"{instance.url}{DAGS}", auth=auth, timeout=60)


def test_a_token_that_ends_while_a_script_runs_is_renewed(airflow_fab: Airflow3) -> None:
    answers: list[Any] = []
    with airflow_fab.changed(AIRFLOW__API_AUTH__JWT_EXPIRATION_TIME="5", AIRFLOW__API_AUTH__JWT_LEEWAY="0"):
        auths: list[Any] = [RequestsAuth(airflow_fab.url, ADMIN), HttpxAuth(airflow_fab.url, ADMIN)]
        first = [auth._token_source.obtain() for auth in auths]
        for auth in auths:
            # As if the script's clock stood still: it learns only by the 401 that the token has ended.
            auth._token_source._kept = replace(auth._token_source._kept, got_at=0.0, renew_at=inf, ends_at=inf)
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


@pytest.fixture(scope="module")
def ticket_instance(airflow_fab: Airflow3, gateway: StartGateway, kdc: Kdc) -> str:
    settings = {
        **shared_secret(airflow_fab),
        "auth_backends": ["personal_token", "kerberos", "basic_auth"],
        "kerberos": {"keytab": str(kdc.keytab("HTTP/localhost")), "replay_cache": str(kdc.folder / "replays-client")},
    }
    return gateway(settings, kdc.env).url.replace("127.0.0.1", "localhost")


@pytest.mark.parametrize("library", ["requests", "httpx"])
def test_a_ticket_is_enough(ticket_instance: str, kdc: Kdc, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    for name, value in Tickets(kdc).environ("jürgen").items():
        monkeypatch.setenv(name, value)
    auth: Any = (RequestsAuth if library == "requests" else HttpxAuth)(ticket_instance, Kerberos())

    answers = [
        (requests if library == "requests" else httpx).get(ticket_instance + DAGS, auth=auth, timeout=60) for _ in "12"
    ]

    assert [dags_of(answer) for answer in answers] == [{"tiny", "tiny_daily"}] * 2


def test_without_a_ticket_nothing_is_sent(ticket_instance: str, kdc: Kdc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{kdc.folder}/no-such-cache")

    with pytest.raises(LoginRefused, match="no Kerberos ticket"):
        requests.get(ticket_instance + DAGS, auth=RequestsAuth(ticket_instance, Kerberos()), timeout=60)


def test_a_server_that_does_not_prove_who_it_is_gets_no_request(
    ticket_instance: str, kdc: Kdc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hands out tokens to everybody, so that whoever takes one works for the attacker."""
    for name, value in Tickets(kdc).environ("jürgen").items():
        monkeypatch.setenv(name, value)
    with serving() as impostor:
        url = impostor.url.replace("127.0.0.1", "localhost")

        with pytest.raises(LoginUnavailable, match="did not prove"):
            requests.get(f"{url}/api", auth=RequestsAuth(url, Kerberos()), timeout=60)

        assert (len(impostor.logins), impostor.requests) == (1, [])


def test_the_shell_logs_in_with_a_ticket(ticket_instance: str, kdc: Kdc, tmp_path: Path) -> None:
    environ = {**os.environ, **Tickets(kdc).environ("jürgen"), "XDG_CONFIG_HOME": str(tmp_path)}

    subprocess.run([COMMAND, "login", ticket_instance, "--kerberos", "--keep-in", "file"], env=environ, check=True)
    done = subprocess.run([COMMAND, "curl", "-sS", "--fail", DAGS], env=environ, check=True, capture_output=True)

    assert b'"dag_id":"tiny"' in done.stdout


# OpenLineage's client sends what it is given as a bearer token itself, for months: what personal tokens are for.
@pytest.fixture(scope="module")
def lineage() -> Iterator[Recorder]:
    with recording_upstream() as recorder:
        yield recorder


@pytest.fixture(scope="module")
def lineage_settings(lineage: Recorder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("lineage")
    (folder / "users").write_text(f"alice:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}\n")
    (folder / "users").chmod(0o600)
    return {
        "auth_backends": ["personal_token", "basic_auth"],
        "database_url": f"sqlite:///{folder}/state.db",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(folder / "users")},
        "upstream": {"url": f"http://127.0.0.1:{lineage.port}", "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET, "audience": "lineage"},
    }


def make_token(lineage_settings: dict[str, Any], folder: Path, *scopes: str) -> str:
    config = folder / "compat_auth.toml"
    config.write_text(toml(lineage_settings))
    limits = [part for scope in scopes for part in ("--scope", scope)]
    arguments = [
        "tokens",
        "create",
        "--config",
        str(config),
        "--user",
        "alice",
        "--name",
        folder.name,
        "--days",
        "7",
    ]
    return run_compat_auth(*arguments, *limits).strip()


def emit(url: str, token: str) -> None:
    client = OpenLineageClient(
        config={
            "transport": {
                "type": "http",
                "url": url,
                "endpoint": "api/v1/lineage",
                "auth": {"type": "api_key", "apiKey": token},
                "retry": {"total": 0},
            }
        }
    )
    run, job = Run(runId=str(uuid.uuid4())), Job(namespace="spark", name="nightly")
    client.emit(
        RunEvent(
            eventType=RunState.START,
            eventTime="2026-01-01T00:00:00Z",
            run=run,
            job=job,
            producer="https://example.com/tests",
        )
    )


def test_the_events_of_openlineage_arrive_as_the_tokens_user(
    lineage_settings: dict[str, Any], gateway: StartGateway, lineage: Recorder, tmp_path: Path
) -> None:
    instance = gateway(lineage_settings)
    token = make_token(lineage_settings, tmp_path, "POST /api/v1/lineage")
    lineage.take()

    emit(instance.url, token)

    (arrived,) = lineage.take()
    claims = jwt.decode(arrived.values(b"authorization")[0][7:], JWT_SECRET, ["HS512"], audience="lineage")
    assert arrived.request_line == b"POST /api/v1/lineage HTTP/1.1"
    assert claims["sub"] == "alice"
    assert json.loads(gunzip(arrived))["job"] == {"facets": {}, "name": "nightly", "namespace": "spark"}


def test_a_token_for_something_else_lets_no_event_in(
    lineage_settings: dict[str, Any], gateway: StartGateway, lineage: Recorder, tmp_path: Path
) -> None:
    instance = gateway(lineage_settings)
    token = make_token(lineage_settings, tmp_path, "GET /api/v1/lineage")
    lineage.take()

    with pytest.raises(requests.HTTPError, match="403"):
        emit(instance.url, token)

    assert lineage.take() == []


def gunzip(arrived: Arrived) -> bytes:
    return gzip.decompress(arrived.body) if arrived.values(b"content-encoding") == [b"gzip"] else arrived.body

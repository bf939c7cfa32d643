"""What the peers answer on their own: the reason why the gateway exists."""

import os
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy
import sqlalchemy.exc

from support.peers.airflows import Airflow2, Airflow3
from support.peers.place import environment
from support.peers.postgres import Postgres
from support.peers.process import Process
from support.peers.proxies import StartProxy

pytestmark = pytest.mark.peer

TIMEOUT_S = 30
ADMIN = ("admin", "admin")


def get(url: str, **options: Any) -> requests.Response:
    return requests.get(url, timeout=TIMEOUT_S, **options)


def log_in(airflow: Airflow3, name: str, password: str) -> requests.Response:
    return requests.post(f"{airflow.url}/auth/token", json={"username": name, "password": password}, timeout=TIMEOUT_S)


@pytest.mark.parametrize("peer", ["airflow_fab", "airflow_simple"])
def test_airflow_3_refuses_basic_and_does_not_even_ask_for_it(peer: str, request: pytest.FixtureRequest) -> None:
    airflow: Airflow3 = request.getfixturevalue(peer)

    answer = get(f"{airflow.url}/api/v2/dags", auth=ADMIN)

    assert answer.status_code == 401
    assert answer.json() == {"detail": "Not authenticated"}
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize("peer", ["airflow_fab", "airflow_simple"])
def test_airflow_3_gives_a_token_for_a_password_and_takes_it_as_bearer(
    peer: str, request: pytest.FixtureRequest
) -> None:
    airflow: Airflow3 = request.getfixturevalue(peer)

    given = log_in(airflow, *ADMIN)
    dags = get(f"{airflow.url}/api/v2/dags", headers={"Authorization": f"Bearer {given.json()['access_token']}"})

    assert given.status_code == 201
    assert dags.status_code == 200
    assert {dag["dag_id"] for dag in dags.json()["dags"]} == {"tiny", "tiny_daily"}


@pytest.mark.parametrize("peer", ["airflow_fab", "airflow_simple"])
def test_airflow_3_forbids_connections_to_a_viewer(peer: str, request: pytest.FixtureRequest) -> None:
    airflow: Airflow3 = request.getfixturevalue(peer)
    token = log_in(airflow, "viewer", "viewer").json()["access_token"]

    answer = get(f"{airflow.url}/api/v2/connections", headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 403


@pytest.mark.parametrize("name", ["user", "op"])
def test_every_simple_user_can_log_in(airflow_simple: Airflow3, name: str) -> None:
    answer = log_in(airflow_simple, name, name)

    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("name", "password", "status"),
    [
        pytest.param("jürgen", "pässwörd", 201, id="not-ascii"),
        pytest.param("mixed", "mixed", 201, id="by-name"),
        pytest.param("MIXED", "mixed", 201, id="name-without-case"),
        pytest.param("Mixed@Example.com", "mixed", 201, id="by-e-mail"),
        pytest.param("disabled", "disabled", 401, id="disabled"),
        pytest.param("admin", "wrong", 401, id="wrong-password"),
    ],
)
def test_fab_knows_the_users_that_the_tests_need(airflow_fab: Airflow3, name: str, password: str, status: int) -> None:
    answer = log_in(airflow_fab, name, password)

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("name", "password", "status"),
    [
        pytest.param("admin", "admin", 200, id="admin"),
        pytest.param("jürgen", "pässwörd", 200, id="not-ascii"),
        pytest.param("disabled", "disabled", 403, id="disabled"),
        pytest.param("admin", "wrong", 403, id="wrong-password"),
    ],
)
def test_airflow_2_takes_basic_and_treats_all_others_as_public(
    airflow2: Airflow2, name: str, password: str, status: int
) -> None:
    answer = get(f"{airflow2.url}/api/v1/dags", auth=(name.encode(), password.encode()))

    assert answer.status_code == status


def test_airflow_2_answers_401_once_the_public_role_is_gone(airflow2: Airflow2) -> None:
    with airflow2.changed(auth_role_public=None):
        answer = get(f"{airflow2.url}/api/v1/dags", auth=("admin", "wrong"))

    assert answer.status_code == 401


def test_airflow_3_keeps_its_database_over_a_restart_with_other_settings(airflow_fab: Airflow3) -> None:
    with airflow_fab.changed(AIRFLOW__API_AUTH__JWT_ISSUER="https://issuer.example.com"):
        given = log_in(airflow_fab, *ADMIN)
    token = given.json()["access_token"]

    dags = get(f"{airflow_fab.url}/api/v2/dags", headers={"Authorization": f"Bearer {token}"})

    assert given.status_code == 201
    assert dags.status_code == 200


@pytest.mark.parametrize("peer", ["airflow_fab", "airflow2"])
def test_the_database_is_there_for_a_directory_to_read(peer: str, request: pytest.FixtureRequest) -> None:
    airflow: Airflow3 | Airflow2 = request.getfixturevalue(peer)
    engine = sqlalchemy.create_engine(airflow.database_url)

    with engine.connect() as connection:
        rows = connection.execute(sqlalchemy.text("select username, email, active from ab_user")).all()
    engine.dispose()

    users = {name: (email, bool(active)) for name, email, active in rows}
    assert users["mixed"] == ("Mixed@Example.com", True)
    assert users["disabled"] == ("disabled@example.com", False)
    assert users["jürgen"] == ("juergen@example.com", True)


def test_postgres_keeps_its_data_over_a_restart(postgres: Postgres) -> None:
    engine = sqlalchemy.create_engine(postgres.url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("create table kept (word text)"))
        connection.execute(sqlalchemy.text("insert into kept values ('jürgen')"))
    engine.dispose()

    postgres.stop()
    postgres.start()

    with engine.connect() as connection:
        words = connection.execute(sqlalchemy.text("select word from kept")).scalars().all()
    engine.dispose()
    assert words == ["jürgen"]


def test_postgres_is_unreachable_while_it_is_stopped(postgres: Postgres) -> None:
    engine = sqlalchemy.create_engine(postgres.url)

    postgres.stop()
    try:
        with pytest.raises(sqlalchemy.exc.OperationalError):
            engine.connect()
    finally:
        postgres.start()


def test_nginx_runs_the_given_configuration(nginx: StartProxy) -> None:
    inner = nginx('return 200 "inner";')

    outer = nginx("location / { proxy_pass http://inner; }", outside=f"upstream inner {{ server {inner[7:]}; }}")

    assert get(outer).text == "inner"


def test_caddy_runs_the_given_configuration(caddy: StartProxy) -> None:
    inner = caddy("respond inner")

    outer = caddy(f"reverse_proxy {inner}")

    assert get(outer).text == "inner"


def test_a_program_that_dies_fails_the_test_with_the_end_of_its_log(tmp_path: Path) -> None:
    process = Process("false", tmp_path / "log")

    with pytest.raises(pytest.fail.Exception, match=r"(?s)ended with 3 before it was ready.*the reason"):
        process.start(["/bin/sh", "-c", "echo the reason; exit 3"], env={}, is_ready=lambda: False, timeout_s=TIMEOUT_S)


def test_what_a_program_has_started_may_finish_what_it_writes_before_it_is_killed(tmp_path: Path) -> None:
    ready, written = tmp_path / "ready", tmp_path / "written"
    child = f"trap 'sleep 0.5; touch {written}; exit' TERM; touch {ready}; while :; do sleep 0.05; done"
    process = Process("sh", tmp_path / "log")
    process.start(
        ["/bin/sh", "-c", '/bin/sh -c "$0" & exec sleep 60', child],
        env={"PATH": os.defpath},
        is_ready=ready.exists,
        timeout_s=TIMEOUT_S,
    )

    process.stop()

    assert written.exists()


def test_a_missing_peer_fails_the_test_and_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEST_PEERS", str(tmp_path))

    with pytest.raises(pytest.fail.Exception, match="run tests/support/peers/install"):
        environment("airflow3")

"""The gateway while Airflow's own database, a real PostgreSQL, goes and comes back."""

import time
import uuid

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from werkzeug.security import generate_password_hash

from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway
from support.peers.postgres import Postgres

pytestmark = pytest.mark.peer

PATH = "/api/v2/dags"
CACHE_TTL_S = 5
RECOVERY_S = 15
TABLES = """
CREATE TABLE ab_role (id INTEGER PRIMARY KEY, name VARCHAR(64) NOT NULL UNIQUE);
CREATE TABLE ab_user (id INTEGER PRIMARY KEY, username VARCHAR(512) NOT NULL UNIQUE, password VARCHAR(256),
    active BOOLEAN, email VARCHAR(512) NOT NULL UNIQUE);
CREATE TABLE ab_user_role (id SERIAL PRIMARY KEY, user_id INTEGER REFERENCES ab_user, role_id INTEGER);
"""


@pytest.fixture(scope="module")
def database_url(postgres: Postgres) -> str:
    """A database of its own with the users admin (7), zoë (8), eva (9) and gone (10, inactive); password: the name."""
    name = f"gateway_{uuid.uuid4().hex[:8]}"
    server = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    server.dispose()
    url = make_url(postgres.url).set(database=name)
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in TABLES.split(";\n"):
            if statement.strip():
                connection.execute(text(statement))
        for number, (user, active) in enumerate(
            [("admin", True), ("zoë", True), ("eva", True), ("gone", False)], start=7
        ):
            row = (number, user, generate_password_hash(user), active, f"{user}@example.com")
            connection.exec_driver_sql("INSERT INTO ab_user VALUES (%s, %s, %s, %s, %s)", row)
    engine.dispose()
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def instance(database_url: str, echo_upstream: EchoUpstream, gateway: StartGateway) -> Gateway:
    return gateway(
        {
            "upstream": {"url": echo_upstream.url},
            "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
            "basic_auth": {"directories": ["airflow_db"], "cache_ttl_s": CACHE_TTL_S},
            "airflow_db": {"url": database_url},
        }
    )


@pytest.mark.parametrize(("name", "number"), [("admin", "7"), ("ADMIN", "7"), ("zoë", "8"), ("zoë@example.com", "8")])
def test_a_user_of_postgresql_reaches_the_upstream_by_his_number(instance: Gateway, name: str, number: str) -> None:
    password = name.lower().partition("@")[0]

    answer = instance.get(PATH, auth=(name.encode(), password.encode()))

    assert answer.status_code == 200, answer.text
    assert answer.json()["sub"] == number


@pytest.mark.parametrize(("name", "password"), [("admin", "wrong"), ("gone", "gone"), ("nobody", "nobody")])
def test_nobody_else_gets_in(instance: Gateway, name: str, password: str) -> None:
    answer = instance.get(PATH, auth=(name, password))

    assert answer.status_code == 401


def test_while_postgresql_is_away_the_known_pass_and_others_are_told_to_come_back(
    postgres: Postgres, instance: Gateway
) -> None:
    known, unknown = ("admin", "admin"), ("eva", "eva")
    before = instance.get(PATH, auth=known)
    # A check that it began ahead of time reads the row, and counts from its end: that must not be after the stop.
    time.sleep(1)

    postgres.stop()
    try:
        still = instance.get(PATH, auth=known)
        others = instance.get(PATH, auth=unknown)
        wrong = instance.get(PATH, auth=("admin", "wrong"))
        upstream_s_own = instance.get(PATH, headers={"Authorization": "Bearer a.b.c"})
        time.sleep(CACHE_TTL_S)
        forgotten = instance.get(PATH, auth=known)
    finally:
        postgres.start()
    began = time.monotonic()
    while (after := instance.get(PATH, auth=unknown)).status_code == 503 and time.monotonic() - began < RECOVERY_S:
        time.sleep(0.2)

    assert before.status_code == 200
    assert still.status_code == 200
    for answer in (others, wrong, forgotten):
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert "postgres" not in answer.text.lower()
    assert upstream_s_own.json() == {"detail": "Invalid JWT token"}
    assert after.status_code == 200
    assert after.json()["sub"] == "9"

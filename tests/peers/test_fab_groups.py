"""A role that a user has by a group alone: Airflow 3.3's API does not count it, and so we do not."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

import pytest
from werkzeug.security import generate_password_hash

from support.peers.airflows import Airflow3
from support.peers.fab import shared_secret
from support.peers.gateway import Gateway, StartGateway

pytestmark = pytest.mark.peer

CONNECTIONS = "/api/v2/connections"
# Airflow remembers users by number for half a minute: numbers that no other test has had.
BY_GROUP, BY_ROLE = 900_001, 900_002
USERS = {"by-group": BY_GROUP, "by-role": BY_ROLE}


@contextmanager
def two_operators(airflow: Airflow3) -> Generator[None]:
    """Give the role Op to one user by a group and to another in person; both are viewers besides."""
    with closing(sqlite3.connect(airflow.home / "airflow.db", timeout=30)) as database:
        with database:
            for name, number in USERS.items():
                database.execute(
                    "INSERT INTO ab_user (id, first_name, last_name, username, password, active, email)"
                    " VALUES (?, 'Op', 'Erator', ?, ?, 1, ?)",
                    (number, name, generate_password_hash(name), f"{name}@example.org"),
                )
            for number, role in ((BY_GROUP, "Viewer"), (BY_ROLE, "Viewer"), (BY_ROLE, "Op")):
                database.execute(
                    "INSERT INTO ab_user_role (user_id, role_id) SELECT ?, id FROM ab_role WHERE name = ?",
                    (number, role),
                )
            group = database.execute("INSERT INTO ab_group (name) VALUES ('operators')").lastrowid
            database.execute("INSERT INTO ab_user_group (group_id, user_id) VALUES (?, ?)", (group, BY_GROUP))
            database.execute(
                "INSERT INTO ab_group_role (group_id, role_id) SELECT ?, id FROM ab_role WHERE name = 'Op'", (group,)
            )
        try:
            yield
        finally:
            with database:
                database.execute("DELETE FROM ab_group_role WHERE group_id = ?", (group,))
                database.execute("DELETE FROM ab_user_group WHERE group_id = ?", (group,))
                database.execute("DELETE FROM ab_group WHERE id = ?", (group,))
                database.execute("DELETE FROM ab_user_role WHERE user_id IN (?, ?)", (BY_GROUP, BY_ROLE))
                database.execute("DELETE FROM ab_user WHERE id IN (?, ?)", (BY_GROUP, BY_ROLE))


@pytest.fixture(scope="module")
def instance(airflow_fab: Airflow3, gateway: StartGateway) -> Iterator[Gateway]:
    with two_operators(airflow_fab):
        yield gateway(shared_secret(airflow_fab))


@pytest.mark.parametrize(
    ("name", "roles", "status"), [("by-group", ["Viewer"], 403), ("by-role", ["Op", "Viewer"], 200)]
)
def test_airflow_lets_in_by_the_roles_that_we_say_and_by_no_others(
    instance: Gateway, name: str, roles: list[str], status: int
) -> None:
    who = instance.get("/compat-auth/whoami", auth=(name, name)).json()

    assert who["roles"] == roles
    assert instance.get(CONNECTIONS, auth=(name, name)).status_code == status

"""Google accounts that Airflow does not know yet, created in a live Airflow 3.3 with FAB where an operator wants it."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from support.peers.airflows import JWT_SECRET, Airflow3
from support.peers.fab import changed_user
from support.peers.gateway import Gateway, StartGateway
from support.peers.openid_provider import OpenIdProvider

pytestmark = pytest.mark.peer

NEWCOMER = "new.comer@example.org"
MakeGateway = Callable[..., Gateway]


@pytest.fixture
def instance(gateway: StartGateway, google: OpenIdProvider, airflow_fab: Airflow3, tmp_path: Path) -> MakeGateway:
    """Start a gateway of its own, which creates newcomers; arguments change its settings."""

    def start(**changed: Any) -> Gateway:
        settings = {
            "audience": ["web-RS256"],
            "hosted_domains": ["example.org"],
            "jwks_url": google.jwks_url,
            "create_role": "Viewer",
            "create_as": "admin",
            **changed,
        }
        return gateway(
            {
                "auth_backends": ["google_openid"],
                "database_url": f"sqlite:///{tmp_path}/{secrets.token_hex(4)}.db",
                "upstream": {"url": airflow_fab.url},
                "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
                "airflow_db": {"url": airflow_fab.database_url},
                "google_openid": settings,
            }
        )

    return start


@pytest.fixture(autouse=True)
def forgotten(airflow_fab: Airflow3) -> Iterator[None]:
    """Take away again whoever was created."""
    yield
    remove(airflow_fab)


def remove(airflow: Airflow3) -> None:
    mine = "(SELECT id FROM ab_user WHERE email LIKE '%@example.org')"
    with closing(database(airflow)) as opened, opened:
        opened.execute(f"DELETE FROM ab_user_role WHERE user_id IN {mine}")  # noqa: S608  # a constant
        opened.execute("DELETE FROM ab_user WHERE email LIKE '%@example.org'")


def database(airflow: Airflow3) -> sqlite3.Connection:
    return sqlite3.connect(airflow.database_url.removeprefix("sqlite:///"), timeout=30)


def created(airflow: Airflow3) -> list[tuple[Any, ...]]:
    """Return name, first and last name, flag and role of everybody of Google's domain in Airflow."""
    query = (
        "SELECT u.username, u.first_name, u.last_name, u.active, r.name FROM ab_user u"
        " JOIN ab_user_role ur ON ur.user_id = u.id JOIN ab_role r ON r.id = ur.role_id WHERE u.email LIKE '%@example.org'"
    )
    with closing(database(airflow)) as opened:
        return opened.execute(query).fetchall()


def ask(gateway: Gateway, token: str) -> requests.Response:
    return gateway.get("/api/v2/dags", headers={"Authorization": f"Bearer {token}"})


def fresh_token(google: OpenIdProvider) -> str:
    # Two ID tokens of one second are one token, and one that was shown is believed for some minutes.
    time.sleep(1.1)
    return google.id_token("newcomer")


def test_a_newcomer_reads_airflow_s_dags_and_has_become_a_user_with_the_role(
    instance: MakeGateway, google: OpenIdProvider, airflow_fab: Airflow3
) -> None:
    gateway = instance()

    answer = ask(gateway, google.id_token("newcomer"))

    assert (answer.status_code, created(airflow_fab)) == (200, [(NEWCOMER, "Zoë", "Newcomer", 1, "Viewer")])
    assert {dag["dag_id"] for dag in answer.json()["dags"]} == {"tiny", "tiny_daily"}
    line = next(line for line in gateway.process.log.read_text().splitlines() if '"result": "create"' in line)
    assert f'"username": "{NEWCOMER}"' in line
    assert "in the name of 'admin'" in line


def test_a_newcomer_without_a_name_is_called_by_the_address(
    instance: MakeGateway, google: OpenIdProvider, airflow_fab: Airflow3
) -> None:
    answer = ask(instance(), google.id_token("stranger"))

    assert (answer.status_code, created(airflow_fab)) == (200, [("stranger@example.org", "stranger", "-", 1, "Viewer")])


def test_first_requests_at_the_same_moment_make_one_user(
    instance: MakeGateway, google: OpenIdProvider, airflow_fab: Airflow3
) -> None:
    instances = [instance(), instance()]
    token = google.id_token("newcomer")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: ask(instances[number % 2], token).status_code, range(8)))

    assert answers == [200] * 8
    assert len(created(airflow_fab)) == 1


def test_who_was_created_and_then_disabled_stays_disabled(
    instance: MakeGateway, google: OpenIdProvider, airflow_fab: Airflow3
) -> None:
    gateway = instance()
    assert ask(gateway, google.id_token("newcomer")).status_code == 200

    with changed_user(airflow_fab, NEWCOMER, active=0):
        answer = ask(gateway, fresh_token(google))

        assert (answer.status_code, created(airflow_fab)) == (403, [(NEWCOMER, "Zoë", "Newcomer", 0, "Viewer")])


def test_who_was_created_and_then_deleted_does_not_come_back(
    instance: MakeGateway, google: OpenIdProvider, airflow_fab: Airflow3
) -> None:
    gateway = instance()
    assert ask(gateway, google.id_token("newcomer")).status_code == 200
    remove(airflow_fab)

    answer = ask(gateway, fresh_token(google))

    assert (answer.status_code, created(airflow_fab)) == (403, [])


@pytest.mark.parametrize(
    ("changed", "user", "status"),
    [
        pytest.param({"create_role": "", "create_as": ""}, "newcomer", 403, id="off-by-default"),
        pytest.param({"create_role": "No such role"}, "newcomer", 503, id="unknown-role"),
        pytest.param({"create_as": "viewer"}, "newcomer", 503, id="in-the-name-of-somebody-who-may-not"),
        pytest.param({"create_as": "nobody"}, "newcomer", 503, id="in-the-name-of-nobody"),
        pytest.param({"create_as": "disabled"}, "newcomer", 503, id="in-the-name-of-somebody-disabled"),
        pytest.param({}, "bob", 401, id="address-not-verified"),
        pytest.param({}, "carol", 403, id="no-hosted-domain"),
        pytest.param(
            {"service_accounts": ["robot@project.iam.gserviceaccount.com"]}, "service", 403, id="service-account"
        ),
    ],
)
def test_nobody_is_created(
    instance: MakeGateway,
    google: OpenIdProvider,
    airflow_fab: Airflow3,
    changed: dict[str, Any],
    user: str,
    status: int,
) -> None:
    gateway = instance(**changed)

    answer = ask(gateway, google.id_token(user))

    assert (answer.status_code, created(airflow_fab)) == (status, [])

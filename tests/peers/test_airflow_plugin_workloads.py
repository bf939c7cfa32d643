"""Workloads inside live Airflow 3.3, with either auth manager: as a Bearer, and at Airflow's own `/auth/token`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.peers import seed
from support.peers.airflows import Airflow3
from support.peers.gateway import call
from support.peers.plugin import StartPlugged
from support.workload_tokens import rule_for, token_of

pytestmark = pytest.mark.peer

RUNS = "/api/v2/dags/tiny/dagRuns"
NEW_RUN = {"logical_date": None}
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@pytest.fixture(scope="module", params=["simple", "fab"])
def airflow(
    request: pytest.FixtureRequest, plugged_airflow: StartPlugged, tmp_path_factory: pytest.TempPathFactory
) -> Airflow3:
    """An Airflow whose admin a GitHub job may be for triggering, and a pod for everything."""
    folder: Path = tmp_path_factory.mktemp("keys")
    rules = [
        rule_for("github", folder, account="admin"),
        rule_for("kubernetes", folder, account="admin", scopes=["all"]),
        rule_for("aws", folder, account="nobody"),
    ]
    return plugged_airflow(
        seed.SIMPLE if request.param == "simple" else seed.FAB,
        AIRFLOW__COMPAT_AUTH__AUTH_BACKENDS="workload,basic_auth,personal_token",
        AIRFLOW__COMPAT_AUTH__WORKLOADS=json.dumps(rules),
    )


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_job_triggers_a_dag_and_can_do_nothing_else(airflow: Airflow3) -> None:
    token = token_of("github")

    triggered = call("POST", airflow.url + RUNS, headers=bearer(token), json=NEW_RUN)
    listed = call("GET", f"{airflow.url}/api/v2/dags", headers=bearer(token))
    old = call("POST", f"{airflow.url}/api/v1/dags/tiny/dagRuns", headers=bearer(token), json={})

    assert triggered.status_code == 200
    # 3.4 shows the display name that FAB has for the user.
    assert triggered.json()["triggering_user_name"] in ("admin", "Admin Peer")
    assert (listed.status_code, old.status_code) == (403, 200)


@pytest.mark.parametrize(
    ("platform", "changed", "status"),
    [
        ("github", {"repository_id": "75"}, 401),
        ("github", {"event_name": "pull_request"}, 401),
        ("kubernetes", {"sub": "system:serviceaccount:etl:default"}, 401),
        ("aws", {}, 403),
    ],
)
def test_another_workload_stays_out(airflow: Airflow3, platform: str, changed: dict[str, Any], status: int) -> None:
    answer = call("POST", airflow.url + RUNS, headers=bearer(token_of(platform, **changed)), json=NEW_RUN)

    assert answer.status_code == status


def test_a_pods_token_is_an_assertion_for_airflows_own_token(airflow: Airflow3) -> None:
    form = {"grant_type": JWT_BEARER, "assertion": token_of("kubernetes")}

    given = call("POST", f"{airflow.url}/auth/token", data=form)

    assert (given.status_code, given.json()["scope"]) == (200, "all")
    assert call("GET", f"{airflow.url}/api/v2/dags", headers=bearer(given.json()["access_token"])).status_code == 200


def test_a_limited_jobs_assertion_stays_limited(airflow: Airflow3) -> None:
    token = token_of("github")

    given = call("POST", f"{airflow.url}/auth/token", data={"grant_type": JWT_BEARER, "assertion": token})

    assert (given.status_code, given.json()["access_token"]) == (200, token)


def test_a_personal_token_is_a_clients_secret(airflow: Airflow3) -> None:
    body = {"name": "client", "scopes": ["all"]}
    made = call("POST", f"{airflow.url}/compat-auth/api/personal-tokens", auth=("admin", "admin"), json=body)
    secret = made.json()["token"]

    given = call("POST", f"{airflow.url}/auth/token", auth=("admin", secret), data={"grant_type": "client_credentials"})
    refused = call(
        "POST", f"{airflow.url}/auth/token", auth=("admin", "admin"), data={"grant_type": "client_credentials"}
    )

    assert given.status_code == 200
    assert call("GET", f"{airflow.url}/api/v2/dags", headers=bearer(given.json()["access_token"])).status_code == 200
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")

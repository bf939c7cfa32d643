"""Airflow's own command line for its API: it logs in at `/auth/token/cli`, and goes on with what that gives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.peers.airflows import Airflow3
from support.peers.fab import exchange, shared_secret
from support.peers.gateway import Gateway, StartGateway
from support.peers.place import environment

pytestmark = pytest.mark.peer

TIMEOUT_S = 120


@pytest.fixture(params=["exchange", "shared_secret"])
def instance(request: pytest.FixtureRequest, airflow_fab: Airflow3, gateway: StartGateway) -> Gateway:
    return gateway(exchange(airflow_fab) if request.param == "exchange" else shared_secret(airflow_fab))


def airflowctl(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it as a user would who has nothing but a home; its keyring is a file there."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "NO_PROXY": "*",
        "PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring",
        **variables,
    }
    command = [str(environment("airflowctl") / "bin" / "airflowctl"), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def test_airflowctl_logs_in_and_lists_the_dags(instance: Gateway, tmp_path: Path) -> None:
    login = airflowctl(
        tmp_path, "auth", "login", "--api-url", instance.url, "--username", "admin", "--password", "admin"
    )

    dags = airflowctl(tmp_path, "dags", "list", "--output", "json")

    assert login.returncode == 0, login.stdout + login.stderr
    assert dags.returncode == 0, dags.stdout + dags.stderr
    assert "tiny_daily" in dags.stdout


def test_airflowctl_goes_on_with_the_token_that_our_command_prints(instance: Gateway, tmp_path: Path) -> None:
    ours = [
        str(Path(sys.executable).with_name("compat-auth")),
        "token",
        instance.url,
        "--user",
        "admin",
        "--secret-stdin",
    ]
    login = airflowctl(
        tmp_path, "auth", "login", "--api-url", instance.url, "--username", "admin", "--password", "admin"
    )

    printed = subprocess.run(ours, input="admin\n", capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    dags = airflowctl(tmp_path, "dags", "list", "--output", "json", AIRFLOW_CLI_TOKEN=printed.stdout.strip())
    wrong = airflowctl(tmp_path, "dags", "list", "--output", "json", AIRFLOW_CLI_TOKEN="wrong")

    assert (login.returncode, printed.returncode) == (0, 0), login.stderr + printed.stderr
    assert "tiny_daily" in dags.stdout, dags.stderr
    # So it was the variable that counted, not the login.
    assert "tiny_daily" not in wrong.stdout


def test_airflowctl_says_that_a_password_is_wrong(instance: Gateway, tmp_path: Path) -> None:
    login = airflowctl(
        tmp_path, "auth", "login", "--api-url", instance.url, "--username", "admin", "--password", "wrong"
    )

    assert login.returncode != 0
    assert "401" in login.stdout + login.stderr or "Invalid credentials" in login.stdout + login.stderr

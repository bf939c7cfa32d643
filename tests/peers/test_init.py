"""What `compat-auth init` writes beside a real Airflow passes `compat-auth check`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from support.peers.airflows import JWT_SECRET, Airflow3

pytestmark = pytest.mark.peer


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Nothing of this machine is found.
    monkeypatch.setenv("AIRFLOW_CONFIG", str(tmp_path / "absent"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, arguments)


@pytest.mark.parametrize("peer", ["airflow_fab", "airflow_simple"])
def test_a_file_from_the_url_alone_passes_the_check(request: pytest.FixtureRequest, peer: str) -> None:
    airflow: Airflow3 = request.getfixturevalue(peer)

    written = run("init", "--yes", "--airflow-url", airflow.url)
    checked = run("check")

    assert written.exit_code == 0
    assert checked.exit_code == 0, checked.output


def test_a_file_with_airflow_s_secret_and_database_passes_the_check(airflow_fab: Airflow3, tmp_path: Path) -> None:
    secret = tmp_path / "jwt-secret"
    secret.write_text(JWT_SECRET, encoding="utf-8")
    database = (
        "--airflow-database-url",
        airflow_fab.database_url,
        "--jwt-secret-file",
        str(secret),
        "--keytab",
        "none",
    )

    written = run("init", "--yes", "--airflow-url", airflow_fab.url, *database)
    checked = run("check")

    assert written.exit_code == 0
    assert checked.exit_code == 0, checked.output
    assert "ok   upstream token" in checked.output

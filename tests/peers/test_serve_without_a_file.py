"""`compat-auth serve --airflow-url URL` before live Airflows, with either auth manager."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.peers.airflows import Airflow3
from support.peers.gateway import COMMAND, clean_environment, curl
from support.peers.process import Process, answers_http, free_port

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("manager", ["fab", "simple"])
def test_passwords_work_with_nothing_but_the_address(
    request: pytest.FixtureRequest, manager: str, tmp_path: Path
) -> None:
    airflow: Airflow3 = request.getfixturevalue(f"airflow_{manager}")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = Process("gateway", tmp_path / "log")
    line = [COMMAND, "serve", "--airflow-url", airflow.url, "--bind", f"127.0.0.1:{port}"]
    process.start(line, env=clean_environment(), is_ready=lambda: answers_http(url), timeout_s=60)
    try:
        good = curl("-u", "admin:admin", f"{url}/api/v2/dags")
        old = curl("-u", "admin:admin", f"{url}/api/v1/dags")
        bad = curl("-u", "admin:wrong", f"{url}/api/v2/dags")
    finally:
        process.stop()

    assert (good.status, old.status, bad.status) == (200, 200, 401)

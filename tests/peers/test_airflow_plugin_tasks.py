"""Real task runs beside the plugin: a scheduler, a DAG processor, and tasks that talk to the API server."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.peers import seed
from support.peers.airflows import Airflow3
from support.peers.gateway import call
from support.peers.plugin import BASIC_AUTH, StartPlugged
from support.peers.process import Process

pytestmark = pytest.mark.peer

ADMIN = ("admin", "admin")
RUN_S = 180
SESSION = "airflow.providers.fab.auth_manager.api.auth.backend.session"


@pytest.fixture(scope="module")
def airflow(plugged_airflow: StartPlugged) -> Airflow3:
    return plugged_airflow(seed.FAB, AIRFLOW__FAB__AUTH_BACKENDS=f"{BASIC_AUTH},{SESSION}")


@pytest.fixture(scope="module")
def components(airflow: Airflow3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """A scheduler with its executor, and a DAG processor, each with the plugin installed; yields their logs."""
    folder = tmp_path_factory.mktemp("components")
    running = [Process(f"airflow {name}", folder / name) for name in ("scheduler", "dag-processor")]
    for process in running:
        command = [str(airflow.python), "-m", "airflow", process.log.name]
        process.start(command, env=airflow.env(), is_ready=process.log.is_file, timeout_s=30)
    yield [process.log for process in running]
    for process in running:
        process.stop()


def test_a_task_triggered_with_a_password_runs_to_its_end(airflow: Airflow3, components: list[Path]) -> None:
    dag = f"{airflow.url}/api/v2/dags/tiny"
    assert call("PATCH", dag, auth=ADMIN, json={"is_paused": False}).status_code == 200
    triggered = call("POST", f"{dag}/dagRuns", auth=ADMIN, json={"logical_date": None})
    assert triggered.status_code == 200, triggered.text
    run = f"{dag}/dagRuns/{triggered.json()['dag_run_id']}"

    state = _final_state(run)

    assert state == "success", "\n".join(log.read_text(errors="replace")[-3000:] for log in components)
    (instance,) = call("GET", f"{run}/taskInstances", auth=ADMIN).json()["task_instances"]
    log = call("GET", f"{run}/taskInstances/{instance['task_id']}/logs/1", auth=ADMIN)
    assert (instance["state"], log.status_code) == ("success", 200)
    # The plugin is in each of these processes, and has nothing to say there.
    assert "compat_auth" not in "".join(log.read_text(errors="replace") for log in components)


def _final_state(run: str) -> str:
    deadline = time.monotonic() + RUN_S
    while True:
        state = str(call("GET", run, auth=ADMIN).json()["state"])
        if state in ("success", "failed") or time.monotonic() > deadline:
            return state
        time.sleep(1)

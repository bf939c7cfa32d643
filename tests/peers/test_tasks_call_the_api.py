"""Tasks of a live Airflow 3.3 call its API: what LocalExecutor runs, with the token that a task gets, and every misuse of it."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest

from support.peers import seed
from support.peers.airflows import JWT_SECRET, Airflow3
from support.peers.gateway import StartGateway, call
from support.peers.plugin import StartPlugged
from support.peers.process import Process

pytestmark = pytest.mark.peer

ADMIN = ("admin", "admin")
RUN_S = 240
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "dags" / "starts_tiny.py"
HOLDING = ROOT / "tests" / "support" / "peers" / "task_dags" / "holding.py"
RULES = [{"dag": "sales.*", "account": "admin", "scopes": ["trigger", "GET /api/v2/dags/"]}]
EXECUTION = "urn:airflow.apache.org:task"


@pytest.fixture(scope="module")
def airflow(plugged_airflow: StartPlugged) -> Airflow3:
    airflow = plugged_airflow(
        seed.FAB,
        AIRFLOW__COMPAT_AUTH__AUTH_BACKENDS="airflow_task,basic_auth",
        AIRFLOW__COMPAT_AUTH__AIRFLOW_TASK__RULES=json.dumps(RULES),
    )
    for source in (EXAMPLE, HOLDING):
        shutil.copy(source, airflow.home / "dags")
    return airflow


@pytest.fixture(scope="module", autouse=True)
def components(airflow: Airflow3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """A scheduler with LocalExecutor, and a DAG processor; yields their logs."""
    folder = tmp_path_factory.mktemp("components")
    running = [Process(f"airflow {name}", folder / name) for name in ("scheduler", "dag-processor")]
    for process in running:
        command = [str(airflow.python), "-m", "airflow", process.log.name]
        process.start(command, env=airflow.env(), is_ready=process.log.is_file, timeout_s=30)
    yield [process.log for process in running]
    for process in running:
        process.stop()


class Site:
    """The API as the test's own administrator sees it."""

    def __init__(self, airflow: Airflow3) -> None:
        self.airflow = airflow
        self.api = f"{airflow.url}/api/v2"

    def trigger(self, dag: str) -> str:
        """Start a run as soon as the DAG is known, and return its id."""
        end = time.monotonic() + RUN_S
        while call("PATCH", f"{self.api}/dags/{dag}", auth=ADMIN, json={"is_paused": False}).status_code != 200:
            assert time.monotonic() < end, f"{dag} is not there"
            time.sleep(1)
        answer = call("POST", f"{self.api}/dags/{dag}/dagRuns", auth=ADMIN, json={"logical_date": None})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["dag_run_id"])

    def final_state(self, dag: str, run: str) -> str:
        """Return the state of a run once it is over."""
        end = time.monotonic() + RUN_S
        while True:
            state = str(call("GET", f"{self.api}/dags/{dag}/dagRuns/{run}", auth=ADMIN).json()["state"])
            if state in ("success", "failed") or time.monotonic() > end:
                return state
            time.sleep(1)

    def held(self, dag: str, map_index: int = 0, try_number: int = 1) -> dict[str, Any]:
        """Return the content of the file that a holding task has written."""
        file = self.airflow.home / "held" / f"{dag}-{map_index}-{try_number}.json"
        end = time.monotonic() + RUN_S
        while not file.exists():
            assert time.monotonic() < end, f"{file.name} is not there"
            time.sleep(0.5)
        content: dict[str, Any] = json.loads(file.read_text())
        return content

    def let_go(self, dag: str) -> None:
        """Let the tasks of a holding DAG end."""
        (self.airflow.home / "held" / f"{dag}.go").touch()

    def status(self, method: str, path: str, token: str, **options: Any) -> int:
        """Return the status of a request with a Bearer."""
        headers = {"Authorization": f"Bearer {token}"}
        return int(call(method, f"{self.airflow.url}{path}", headers=headers, **options).status_code)


@pytest.fixture(scope="module")
def site(airflow: Airflow3) -> Site:
    return Site(airflow)


def execution_token(instance_id: str, **claims: object) -> str:
    """Return a token as Airflow itself signs it for a task's supervisor."""
    now = int(time.time())
    content = {"sub": instance_id, "aud": EXECUTION, "jti": uuid4().hex, "iat": now, "nbf": now, "exp": now + 600}
    return jwt.encode({**content, **claims}, JWT_SECRET, algorithm="HS512", headers={"kid": "not-used"})


def test_the_example_starts_another_dag_without_a_secret(site: Site, components: list[Path]) -> None:
    run = site.trigger("sales.starts_tiny")

    state = site.final_state("sales.starts_tiny", run)

    assert state == "success", "\n".join(log.read_text(errors="replace")[-3000:] for log in components)
    runs = call("GET", f"{site.api}/dags/tiny/dagRuns", auth=ADMIN).json()["dag_runs"]
    # Since 3.4 it is the name that pages show.
    assert [found["triggering_user_name"] for found in runs] in (["admin"], ["Admin Peer"])


def test_a_task_s_tokens_do_what_the_rule_says_while_it_runs_and_nothing_afterwards(site: Site) -> None:
    run = site.trigger("sales.holding")
    held = site.held("sales.holding")
    other = site.held("sales.holding", 1)
    token, execution = held["password"], execution_token(held["id"])
    assert other["id"] != held["id"]

    for running in (token, execution):
        assert site.status("GET", "/api/v2/dags/tiny", running) == 200
        assert site.status("GET", "/api/v1/dags/tiny", running) == 403  # its rule says /api/v2 alone
        assert site.status("GET", "/api/v2/variables", running) == 403
        assert site.status("DELETE", "/api/v2/dags/tiny", running) == 403
        assert site.status("POST", "/api/v2/dags/tiny/dagRuns", running, json={"logical_date": None}) == 200
        assert site.status("POST", "/auth/token", running) in (401, 403)
        assert site.status("POST", "/compat-auth/tokens", running, json={"name": "x", "scopes": ["all"]}) >= 400
    # The plugin's token is of no use to the API of tasks.
    for path in ("/execution/variables/x", "/execution/connections/compat_auth", "/execution/xcoms/a/b/c/d"):
        assert site.status("GET", path, token) == 403
    # Airflow goes on judging its own.
    assert site.status("GET", "/execution/variables/x", execution) == 404
    for bad in (
        execution_token(held["id"], scope="workload"),
        execution_token(str(uuid4())),
        execution_token("admin"),
        execution_token("1"),
        execution_token(held["id"], exp=int(time.time()) - 60),
        execution_token(held["id"], aud="urn:compat-auth:task"),
    ):
        assert site.status("GET", "/api/v2/dags/tiny", bad) == 401
        # Airflow's own answer; it fails with 500 where `sub` is no UUID.
        assert site.status("GET", "/execution/connections/compat_auth", bad) in (401, 403, 404, 500)
    both = {"Authorization": f"Bearer {token}", "Cookie": f"_token={execution}"}
    assert call("GET", f"{site.api}/variables", headers=both).status_code == 403
    site.let_go("sales.holding")
    assert site.final_state("sales.holding", run) == "success"
    time.sleep(1.5)
    for over in (token, execution, other["password"]):
        assert site.status("GET", "/api/v2/dags/tiny", over) == 401
    assert site.status("GET", "/execution/connections/compat_auth", execution) == 403


def test_a_gateway_that_shares_the_keys_takes_the_same_tokens(site: Site, gateway: StartGateway) -> None:
    door = gateway(
        {
            "auth_backends": ["airflow_task"],
            "upstream": {"url": site.airflow.url},
            "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
            "airflow_db": {"url": site.airflow.database_url},
            "lookup": {"directories": ["airflow_db"]},
            "airflow_task": {"rules": RULES, "state_username": "viewer"},
        }
    )
    run = site.trigger("sales.again")
    held = site.held("sales.again")

    def status(token: str, method: str, path: str) -> int:
        return int(door.request(method, path, headers={"Authorization": f"Bearer {token}"}, json={}).status_code)

    for running in (held["password"], execution_token(held["id"])):
        assert status(running, "GET", "/api/v2/dags/tiny") == 200
        assert status(running, "GET", "/api/v2/variables") == 403
        assert status(running, "GET", "/execution/variables/x") in (401, 403, 404)
    assert status(execution_token(str(uuid4())), "GET", "/api/v2/dags/tiny") == 401
    assert status(execution_token(held["id"], scope="workload"), "GET", "/api/v2/dags/tiny") == 401
    site.let_go("sales.again")
    site.final_state("sales.again", run)
    time.sleep(1.5)
    for over in (held["password"], execution_token(held["id"])):
        assert status(over, "GET", "/api/v2/dags/tiny") == 401


def test_a_cleared_task_is_another_try_and_the_token_of_the_first_stays_dead(site: Site) -> None:
    run = site.held("sales.holding")["run_id"]
    (site.airflow.home / "held" / "sales.holding.go").unlink(missing_ok=True)
    cleared = call(
        "POST",
        f"{site.api}/dags/sales.holding/clearTaskInstances",
        auth=ADMIN,
        json={"dry_run": False, "dag_run_id": run, "only_failed": False, "reset_dag_runs": True},
    )
    assert cleared.status_code == 200, cleared.text

    again = site.held("sales.holding", try_number=2)

    first = site.held("sales.holding")
    assert site.status("GET", "/api/v2/dags/tiny", again["password"]) == 200
    assert site.status("GET", "/api/v2/dags/tiny", first["password"]) == 401
    assert site.status("GET", "/api/v2/dags/tiny", execution_token(first["id"])) == 401
    site.let_go("sales.holding")
    site.final_state("sales.holding", run)


def test_a_task_that_no_rule_covers_gets_nothing(site: Site) -> None:
    site.trigger("salesforce.holding")
    held = site.held("salesforce.holding")

    assert "password" not in held
    # A worker's own look-up hides the reason before 3.3.
    assert "Access denied" in held["error"] or "defined" in held["error"], held
    assert site.status("GET", "/api/v2/dags/tiny", execution_token(held["id"])) == 403
    site.let_go("salesforce.holding")

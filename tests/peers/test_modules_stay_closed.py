"""Unmodified Airflow 2 modules are as closed in the gateway and in the plugin as in Airflow 2.11 itself."""

import hashlib
import hmac
import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
import requests

from support.peers import seed
from support.peers.airflow2_as import Airflow2As
from support.peers.airflows import JWT_SECRET, Airflow3
from support.peers.gateway import COMMAND, StartGateway, call, toml
from support.peers.place import HERE
from support.peers.plugin import StartPlugged

pytestmark = pytest.mark.peer

# The last one cannot run where Airflow 3 is, or none.
MODULES = "ticket_holder,body_digest,without_airflow"
ENVIRON = {"PYTHONPATH": str(HERE / "legacy_modules")}
_numbers = count()


@pytest.fixture(scope="module")
def airflow2(airflow2_as: Airflow2As) -> str:
    return airflow2_as(auth_backends=MODULES, auth_role_public=None, **ENVIRON).url + "/api/v1"


@pytest.fixture(scope="module")
def gateway_url(airflow_fab: Airflow3, gateway: StartGateway) -> str:
    settings = {
        "auth_backends": MODULES,
        "upstream": {"url": airflow_fab.url},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "airflow_db": {"url": airflow_fab.database_url},
    }
    return gateway(settings, ENVIRON).url


@pytest.fixture(scope="module")
def plugin_url(plugged_airflow: StartPlugged) -> Iterator[str]:
    airflow = plugged_airflow(seed.FAB, AIRFLOW__API__AUTH_BACKENDS=MODULES, **ENVIRON)
    yield airflow.url
    airflow.stop()


@pytest.fixture(params=["gateway", "plugin"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


def variable() -> bytes:
    return json.dumps({"key": f"signed-{os.getpid()}-{next(_numbers)}", "value": "x"}).encode()


def signed(body: bytes) -> dict[str, str]:
    signature = hmac.new(b"key-of-admin", body, hashlib.sha256).hexdigest()
    return {"X-Digest": signature, "Content-Type": "application/json"}


def post(url: str, body: bytes, signature_over: bytes) -> requests.Response:
    return call("POST", url, data=body, headers=signed(signature_over))


def test_airflow_2_lets_nobody_in_as_somebody_else(airflow2: str) -> None:
    users = ["admin", "viewer"] * 20

    with ThreadPoolExecutor(8) as pool:
        statuses = list(
            pool.map(lambda user: call("GET", f"{airflow2}/variables", headers={"X-Ticket": user}).status_code, users)
        )

    assert statuses == [200, 403] * 20


def test_neither_do_we(url: str) -> None:
    users = ["admin", "viewer"] * 40

    with ThreadPoolExecutor(8) as pool:
        seen = list(
            pool.map(lambda user: call("GET", f"{url}/compat-auth/whoami", headers={"X-Ticket": user}).json(), users)
        )

    assert [answer.get("username") for answer in seen] == users


def test_airflow_2_judges_the_body_that_it_obeys(airflow2: str) -> None:
    body = variable()

    wrong = post(f"{airflow2}/variables", body, b"")
    right = post(f"{airflow2}/variables", body, body)

    assert wrong.status_code == 401
    # The module has let it in; Airflow's own log of actions wants more of a user than the module's has.
    assert right.status_code not in (401, 403)


def test_so_do_we(url: str) -> None:
    body = variable()

    wrong = post(f"{url}/api/v2/variables", body, b"")
    right = post(f"{url}/api/v2/variables", body, body)

    assert (wrong.status_code, right.status_code) == (503, 201), (wrong.text, right.text)


def test_a_body_in_chunks_is_judged_and_obeyed_whole(url: str) -> None:
    body = variable()
    chunks = iter([body[:5], body[5:]])

    answer = call("POST", f"{url}/api/v2/variables", data=chunks, headers=signed(body))

    assert answer.status_code == 201, answer.text


def test_a_client_that_waits_for_100_continue_is_served(url: str) -> None:
    body = variable()
    headers = {**signed(body), "Expect": "100-continue"}
    flags = [flag for name, value in headers.items() for flag in ("-H", f"{name}: {value}")]
    command = ["curl", "-sS", "--max-time", "60", "-o", os.devnull, "-w", "%{http_code}", *flags]

    done = subprocess.run(
        [*command, "--data-binary", "@-", f"{url}/api/v2/variables"], input=body, capture_output=True, check=True
    )

    assert done.stdout == b"201"


def test_airflow_2_lets_nobody_in_without_a_credential(airflow2: str) -> None:
    answer = call("GET", f"{airflow2}/pools")

    assert answer.status_code == 401


def test_a_module_whose_import_has_failed_lets_nobody_in_and_stops_nothing(url: str) -> None:
    answer = call("GET", f"{url}/api/v2/pools")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


def test_airflow_s_health_does_not_depend_on_a_module_that_cannot_run(plugin_url: str) -> None:
    answer = call("GET", f"{plugin_url}/api/v2/monitor/health")

    assert answer.status_code == 200


def test_check_says_which_import_has_failed(airflow_fab: Airflow3, tmp_path: Path) -> None:
    config = tmp_path / "compat_auth.toml"
    settings = {
        "auth_backends": MODULES,
        "upstream": {"url": airflow_fab.url},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "airflow_db": {"url": airflow_fab.database_url},
    }
    config.write_text(toml(settings))
    config.chmod(0o600)

    done = subprocess.run(
        [COMMAND, "check", "--config", str(config)],
        env={**os.environ, **ENVIRON},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 78
    assert "accepts everybody if airflow_pages could not be imported" in done.stdout + done.stderr

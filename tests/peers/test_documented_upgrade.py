"""The page about the upgrade, word for word: its configurations and commands, and what it says of Airflow's linter."""

import configparser
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.peers import seed
from support.peers.airflows import Airflow3
from support.peers.gateway import COMMAND, clean_environment, curl
from support.peers.plugin import StartPlugged
from support.peers.process import Process, answers_http, free_port

pytestmark = pytest.mark.peer

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "upgrade-airflow.md").read_text(encoding="utf-8")
OLD_LIST = "airflow.api.auth.backend.basic_auth,airflow.api.auth.backend.session"
TIMEOUT_S = 120


def block(language: str, section: str) -> str:
    """Return what stands in the section's only block of that language, without the indent of its list."""
    text = PAGE.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return "".join(re.sub(rf"^{indent}", "", content, flags=re.MULTILINE) for indent, content in found)


def curls(section: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in block("sh", section).splitlines() if line.startswith("curl ")]


def configured(home: Path) -> Path:
    """Write what the page says to keep in airflow.cfg."""
    file = home / "airflow.cfg"
    file.write_text(block("ini", "Inside Airflow"))
    return file


def test_the_settings_that_the_page_names_are_those_of_the_servers_that_were_compared() -> None:
    settings = configparser.ConfigParser()

    settings.read_string(block("ini", "Settings to change in Airflow"))

    named = {
        f"AIRFLOW__{section}__{key}".upper(): value for section in settings for key, value in settings[section].items()
    }
    assert named == dict(seed.FAB_V1.settings)


def test_the_linter_says_what_the_page_says_it_does(airflow_fab: Airflow3, tmp_path: Path) -> None:
    configured(tmp_path)
    env = {"PATH": airflow_fab.env()["PATH"], "AIRFLOW_HOME": str(tmp_path), "NO_COLOR": "1"}

    done = subprocess.run(
        [str(airflow_fab.python), "-m", "airflow", "config", "lint"],
        env=env, capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
    )  # fmt: skip

    assert block("text", "What the linter says, and what to do instead").strip() in done.stdout


def test_whoever_follows_the_linter_has_an_api_server_that_does_not_start(airflow_fab: Airflow3) -> None:
    env = {**airflow_fab.env(), "AIRFLOW__FAB__AUTH_BACKENDS": OLD_LIST}

    done = subprocess.run(
        [str(airflow_fab.python), "-m", "airflow", "api-server", "--port", "0", "--workers", "1"],
        env=env, capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
    )  # fmt: skip

    assert done.returncode != 0
    assert "No module named 'airflow.api.auth'" in done.stdout + done.stderr
    assert "No module named 'airflow.api.auth'" in PAGE


def test_with_a_carried_over_configuration_each_process_of_airflow_has_a_secret_of_its_own(
    airflow_fab: Airflow3, tmp_path: Path
) -> None:
    configured(tmp_path)
    env = {"PATH": airflow_fab.env()["PATH"], "AIRFLOW_HOME": str(tmp_path)}
    code = "from airflow.api_fastapi.auth.tokens import get_signing_key as key; print(key('api_auth', 'jwt_secret'))"

    secrets = [
        subprocess.run(
            [str(airflow_fab.python), "-c", code],
            env=env, capture_output=True, text=True, check=True, timeout=TIMEOUT_S,
        ).stdout.splitlines()[-1]
        for _ in range(2)
    ]  # fmt: skip

    assert secrets[0] != secrets[1]
    assert "jwt_secret" not in (tmp_path / "airflow.cfg").read_text()
    assert "An `airflow.cfg` of Airflow 2 has no `[api_auth] jwt_secret`" in PAGE


@pytest.fixture(scope="module")
def inside(plugged_airflow: StartPlugged, tmp_path_factory: pytest.TempPathFactory) -> Airflow3:
    cfg = configured(tmp_path_factory.mktemp("carried-over"))
    return plugged_airflow(seed.FAB, AIRFLOW_CONFIG=str(cfg))


@pytest.mark.parametrize("arguments", curls("Inside Airflow"), ids=" ".join)
def test_inside_airflow_the_commands_of_the_page_work(inside: Airflow3, arguments: list[str]) -> None:
    answer = curl(*(argument.replace("127.0.0.1:8080", f"127.0.0.1:{inside.port}") for argument in arguments))

    assert answer.status == 200
    assert {"dags", "username"} & answer.json().keys()


@pytest.fixture
def in_front(airflow_fab: Airflow3, tmp_path: Path) -> Iterator[int]:
    """The gateway as the page says, checked and serving; yields its port."""
    port = free_port()
    content = block("toml", "In front of Airflow")
    content = content.replace("/etc/airflow/airflow.cfg", str(configured(tmp_path)))
    config = tmp_path / "compat_auth.toml"
    config.write_text(content.replace("127.0.0.1:8080", f"127.0.0.1:{airflow_fab.port}"))
    env = {**clean_environment(), "COMPAT_AUTH_SERVE__BIND": f"127.0.0.1:{port}"}
    env["COMPAT_AUTH_DATABASE_URL"] = f"sqlite:///{tmp_path}/state.db"
    check = [COMMAND, "check", "--config", str(config)]
    checked = subprocess.run(check, env=env, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    process = Process("compat-auth serve", tmp_path / "log")
    process.start(
        [COMMAND, "serve", "--config", str(config)],
        env=env,
        is_ready=lambda: answers_http(f"http://127.0.0.1:{port}/compat-auth/live"),
        timeout_s=TIMEOUT_S,
    )
    yield port
    process.stop()


def test_in_front_of_airflow_the_commands_of_the_page_work(in_front: int) -> None:
    ((*arguments, url),) = curls("In front of Airflow")

    answer = curl(*arguments, url.replace("127.0.0.1:8088", f"127.0.0.1:{in_front}"))

    assert answer.status == 200
    assert "dags" in answer.json()


def test_the_page_names_the_commands_of_the_gateway_that_were_run() -> None:
    lines = block("sh", "In front of Airflow").splitlines()

    assert lines[:2] == ["compat-auth check", "compat-auth serve"]

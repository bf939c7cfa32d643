"""`compat-auth serve --airflow-url URL`: a gateway from nothing but the address of an Airflow 3."""

from __future__ import annotations

import base64
import json
import os
import shlex
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from compat_auth.cli.diagnosis.simplest_setup import find_setup
from compat_auth.errors import ConfigError, UpstreamUnreachable
from support.serving import served
from support.stub_airflow import SECRET, StubAirflow

COMMAND = str(Path(sys.executable).with_name("compat-auth"))
IN_MEMORY = "sqlite://"
TOKEN = jwt.encode({"sub": "alice", "exp": 4_000_000_000}, SECRET, algorithm="HS512")


class WithUsers(StubAirflow):
    """Logs alice in, and shows the DAGs for its own token only."""

    manager = "simple"

    def do_GET(self) -> None:  # noqa: N802  # http.server's name
        if self.path == "/api/v2/dags":
            is_known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            self._answer(*((200, '{"dags": []}') if is_known else (401, "{}")))
        else:
            super().do_GET()

    def do_POST(self) -> None:  # noqa: N802  # http.server's name
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        if not body:
            self._answer(422, "{}")
        elif body == {"username": "alice", "password": "wonder"}:
            self._answer(201, json.dumps({"access_token": TOKEN}))
        else:
            self._answer(401, "{}")


class Html(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>welcome</html>")


class NoLogin(StubAirflow):
    login_status = 405


class Airflow2(StubAirflow):
    version = "2.11.2"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["serve", *arguments])


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_profile_is_that_of_the_auth_manager() -> None:
    with served(StubAirflow) as fab, served(WithUsers) as simple:
        found = [find_setup(url, IN_MEMORY, {}).settings for url in (fab, f"{simple}/")]

    assert [settings.upstream.profile for settings in found] == ["airflow-fab", "airflow-simple"]
    assert {settings.token.strategy for settings in found} == {"exchange"}
    assert {settings.serve.bind for settings in found} == {"127.0.0.1:8088"}


def test_it_serves_and_prints_a_line_that_works(empty_folder: Path) -> None:
    with served(WithUsers) as url:
        line = [COMMAND, "serve", "--airflow-url", url, "--bind", "127.0.0.1:0"]
        with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, cwd=empty_folder) as process:
            assert process.stderr is not None
            said = [process.stderr.readline() for _ in range(3)]
            command = shlex.split(said[2].partition("try: ")[2])
            command[command.index("USER")] = "alice:wonder"
            good = subprocess.run([*command, "-sS", "--noproxy", "*"], capture_output=True, check=True, timeout=30)
            command[command.index("alice:wonder")] = "alice:wrong"
            bad = subprocess.run(
                [*command, "-sS", "--noproxy", "*", "-o", os.devnull, "-w", "%{http_code}"],
                capture_output=True,
                check=True,
                timeout=30,
            )
            process.send_signal(signal.SIGTERM)
            process.stderr.read()

    assert "exchanged there for Airflow's own token" in said[0]
    assert "(basic_auth)" in said[1]
    assert json.loads(good.stdout) == {"dags": []}
    assert bad.stdout == b"401"
    assert process.returncode == 0
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("handler", "said"),
    [(Html, "is not Airflow 3"), (NoLogin, "accepts no passwords"), (Airflow2, "is Airflow 2.11.2")],
)
def test_another_program_at_the_url_is_named(handler: type[BaseHTTPRequestHandler], said: str) -> None:
    with served(handler) as url, pytest.raises(ConfigError, match=said):
        find_setup(url, IN_MEMORY, {})


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8080", "ftp://airflow", "http://alice:secret@airflow", "", "http://airflow/?a=b"]
)
def test_what_is_no_url_ends_with_status_78_and_names_the_option(url: str) -> None:
    result = run("--airflow-url", url)

    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith("--airflow-url: ")
    assert "secret" not in str(result.exception)


def test_an_airflow_that_is_down_ends_with_status_69() -> None:
    result = run("--airflow-url", "http://127.0.0.1:9")

    assert isinstance(result.exception, UpstreamUnreachable)
    assert result.exception.exit_code == 69
    assert "does not accept connections" in str(result.exception)


def test_a_file_and_the_option_exclude_each_other(empty_folder: Path) -> None:
    (empty_folder / "compat_auth.toml").write_text("")

    result = run("--airflow-url", "http://127.0.0.1:9")

    assert result.exit_code == 2
    assert "compat_auth.toml" in result.output


def test_reload_and_the_option_exclude_each_other() -> None:
    assert run("--airflow-url", "http://127.0.0.1:9", "--reload").exit_code == 2


def test_a_variable_changes_other_settings_but_never_the_address() -> None:
    variables = {
        "COMPAT_AUTH_SERVE__BIND": "127.0.0.1:9999",
        "COMPAT_AUTH_UPSTREAM__URL": "http://elsewhere.example",
        "COMPAT_AUTH_UPSTREAM__API_V1": "false",
    }

    with served(StubAirflow) as url:
        settings = find_setup(url, IN_MEMORY, variables).settings

    assert (settings.serve.bind, settings.upstream.url, settings.upstream.api_v1) == ("127.0.0.1:9999", url, False)


def test_no_password_is_in_what_it_says() -> None:
    pair = base64.b64encode(b"alice:wonder").decode()

    with served(WithUsers) as url:
        summary = find_setup(url, IN_MEMORY, {}).summary

    assert pair not in summary

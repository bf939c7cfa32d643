"""`compat-auth check` says of each wrong set-up where it is, what it is and what to do, before the first request."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from compat_auth.app import create_app
from compat_auth.cli import commands
from compat_auth.config import load_settings
from compat_auth.scopes import parse_scope
from support.peers.authority import Authority
from support.serving import served
from support.stub_airflow import SECRET, StubAirflow, served_by_tls, silent_listener
from support.wrong_setups import RIGHT, SETUPS, Setup


class Html(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # http.server's name
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>welcome</html>")


class Redirect(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # http.server's name
        self.send_response(308)
        self.send_header("Location", "https://elsewhere.example/?token=hush")
        self.end_headers()


class Gateway(StubAirflow):
    version = ""

    def do_GET(self) -> None:  # noqa: N802  # http.server's name
        self.send_response(401)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", "0")
        self.end_headers()


class Broken(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # http.server's name
        self.send_error(502)


class Live(BaseHTTPRequestHandler):
    """A gateway that serves."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/compat-auth/live" else 404)
        self.end_headers()


class Airflow2(StubAirflow):
    version = "2.11.2"


class Simple(StubAirflow):
    manager = "simple"


class SlowClock(Simple):
    clock_s = -45


class FastClock(Simple):
    clock_s = 3600


class NoLogin(StubAirflow):
    login_status = 405


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Where the set-ups find what they name."""
    folder = tmp_path_factory.mktemp("servers")
    handlers: Mapping[str, type[BaseHTTPRequestHandler]] = {
        "AIRFLOW": Simple,
        "AIRFLOW2": Airflow2,
        "HTML": Html,
        "REDIRECT": Redirect,
        "GATEWAY": Gateway,
        "BROKEN": Broken,
        "SLOW_CLOCK": SlowClock,
        "FAST_CLOCK": FastClock,
        "NO_LOGIN": NoLogin,
    }
    authority = Authority(folder)
    with ExitStack() as stack:
        found = {name: stack.enter_context(served(handler)) for name, handler in handlers.items()}
        port = stack.enter_context(served_by_tls(Simple, authority.sign("airflow")))
        misnamed = stack.enter_context(served_by_tls(Simple, authority.sign("misnamed", "192.0.2.1")))
        silent = stack.enter_context(silent_listener())
        taken = stack.enter_context(silent_listener())
        yield {
            **found,
            "SECRET": SECRET,
            "CA": str(authority.ca_file),
            "AIRFLOW_S": found["AIRFLOW"].replace("http:", "https:"),
            "TLS": f"https://127.0.0.1:{port}",
            "TLS_PLAIN": f"http://127.0.0.1:{port}",
            "TLS_NAME": f"https://127.0.0.1:{misnamed}",
            "SILENT": f"http://127.0.0.1:{silent}",
            "LIVE": stack.enter_context(served(Live)).removeprefix("http://"),
            "TAKEN": f"127.0.0.1:{taken}",
        }


@pytest.fixture
def filled(places: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Return what puts the places into a text, in an empty folder with the files that the set-ups name."""
    monkeypatch.chdir(tmp_path)
    run("users", "add", "alice", "--file", "users", "--password-stdin", stdin="a-long-enough-password\n")
    run("keys", "create", "--file", "keys.json")
    (tmp_path / "mapping.toml").write_text('[[user]]\nusername = "alice"\nid = 7\n')
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    own = {
        **places,
        "TMP": str(tmp_path),
        "KEYS": str(tmp_path / "keys.json"),
        "MAPPING": str(tmp_path / "mapping.toml"),
    }

    def fill(text: str) -> str:
        for name, value in own.items():
            text = text.replace(f"@{name}@", value)
        return text

    return fill


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(commands, list(arguments), input=stdin)


def problems_of(result: Result) -> list[dict[str, Any]]:
    return [finding for finding in json.loads(result.stdout) if not finding["ok"]]


def test_at_least_58_wrong_setups_are_tried() -> None:
    assert len({setup.name for setup in SETUPS}) == len(SETUPS) >= 58


def test_a_right_setup_has_nothing_wrong(filled: Callable[[str], str]) -> None:
    Path("c.toml").write_text(filled(RIGHT))

    result = run("check", "--config", "c.toml", "--json")

    assert (problems_of(result), result.exit_code) == ([], 0)
    assert json.loads(result.stdout)[0]["what"] == str(Path("c.toml").absolute())


def marked(setup: Setup) -> Any:
    # What only the Kerberos library can say needs that library, as the peer tests do.
    marks = [pytest.mark.peer] if setup.name == "keytab" else []
    return pytest.param(setup, id=setup.name, marks=marks)


@pytest.mark.parametrize("setup", [marked(setup) for setup in SETUPS])
def test_a_wrong_setup_is_told_with_place_cause_and_next_step(
    setup: Setup, filled: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = setup.change
    assert old in RIGHT
    text = RIGHT.replace(old, new) if old else RIGHT + new
    if setup.name == "ourselves":
        text = text.replace("127.0.0.1:0", "127.0.0.1:28394")
    Path("c.toml").write_text(filled(text))
    for name, value in setup.env.items():
        monkeypatch.setenv(name, filled(value))

    result = run("check", "--config", "c.toml", "--json")

    problems = problems_of(result)
    assert result.stderr == ""
    assert result.exit_code in (setup.status, setup.offline_status if setup.status == 78 else setup.status)
    assert "hush" not in result.stdout
    assert all(problem["where"] and problem["what"] and problem["next"] for problem in problems)
    assert len(problems) == 1
    assert filled(setup.where) in problems[0]["where"]
    assert setup.what in problems[0]["what"]
    assert filled(setup.next_step) in problems[0]["next"]


def test_without_any_configuration_the_only_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    result = run("check")

    assert result.exit_code == 78
    assert result.stdout.count("\n") == 1
    assert f"FAIL configuration: configuration: no file: {tmp_path}/compat_auth.toml does not exist" in result.stdout
    assert "--config FILE" in result.stdout


def test_the_file_that_was_read_and_the_variables_that_win_over_it_are_named(
    filled: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("c.toml").write_text(filled(RIGHT))
    monkeypatch.setenv("COMPAT_AUTH_UPSTREAM__URL", "http://127.0.0.1:1")

    result = run("check", "--config", "c.toml")

    first = result.stdout.splitlines()[0]
    assert str(Path("c.toml").absolute()) in first
    assert "$COMPAT_AUTH_UPSTREAM__URL overrides upstream.url of the file" in first


def test_a_secret_in_a_file_may_end_in_a_line_break(
    filled: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("c.toml").write_text(filled(RIGHT.replace('secret = "@SECRET@"', "")))
    Path("secret").write_text(f"{SECRET}\n")
    monkeypatch.setenv("COMPAT_AUTH_TOKEN__SECRET_FILE", str(Path("secret").absolute()))

    result = run("check", "--config", "c.toml", "--json")

    assert (problems_of(result), result.exit_code) == ([], 0)


def test_an_old_list_with_kerberos_warns_and_goes_on_with_passwords(
    filled: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    text = filled(RIGHT.replace("shared_secret", "exchange")).replace(
        '"basic_auth"]', '"basic_auth", "personal_token"]'
    )
    Path("c.toml").write_text(text)

    create_app(load_settings("c.toml"))

    assert "auth_backends: personal_token brings no password" in caplog.text


def test_no_personal_token_is_made_that_the_strategy_could_never_use(filled: Callable[[str], str]) -> None:
    text = filled(RIGHT.replace("shared_secret", "exchange")).replace(
        '"basic_auth"]', '"basic_auth", "personal_token"]'
    )
    Path("c.toml").write_text(text)

    result = run("tokens", "create", "--config", "c.toml", "--user", "alice", "--name", "script")

    assert result.exit_code != 0
    assert "set token.strategy to shared_secret or key_pair" in str(result.exception)


def test_a_scope_in_lower_case_is_told_with_the_right_spelling() -> None:
    with pytest.raises(ValueError, match="did you mean 'GET /api/v2/dags'"):
        parse_scope("get /api/v2/dags")


def test_the_program_prints_what_it_found_on_standard_output_alone(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "from compat_auth.cli import main; main()", "check"]

    result = subprocess.run(program, cwd=tmp_path, capture_output=True, check=False)

    assert (result.returncode, result.stderr) == (78, b"")
    assert result.stdout.startswith(b"FAIL configuration: ")


def test_a_key_pair_is_not_judged_before_airflow_can_fetch_its_public_half(filled: Callable[[str], str]) -> None:
    text = RIGHT.replace(
        'strategy = "shared_secret"\nsecret = "@SECRET@"', 'strategy = "key_pair"\nkey_file = "@KEYS@"'
    )
    Path("c.toml").write_text(filled(text))

    result = run("check", "--config", "c.toml")

    assert result.exit_code == 0, result.stdout
    assert "ok   upstream token: not checked: Airflow may fetch our public keys from the gateway" in result.stdout

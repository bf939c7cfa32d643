"""`compat-auth token`: one fresh JWT alone on standard output, for other programs."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from compat_auth.client.saved_logins import SavedLogins
from compat_auth.crypto.personal_token_format import make_text
from compat_auth.errors import LoginRefused, LoginUnavailable, NotLoggedIn, UnsafeAddress
from support.token_server import Answer, TokenServer, serving

PASSWORD = "correct horse bättery"
COMMAND = str(Path(sys.executable).with_name("compat-auth"))


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with serving() as state:
        yield state


@pytest.fixture
def logged_in(server: TokenServer, config_home: Path) -> TokenServer:
    line = ["login", server.url, "--user", "alice", "--keep-in", "file", "--secret-stdin"]
    assert CliRunner().invoke(commands, line, input=PASSWORD + "\n").exit_code == 0
    return server


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(commands, ["token", *arguments], input=stdin)


def test_a_saved_login_gives_a_fresh_jwt_each_time(logged_in: TokenServer) -> None:
    first, second = run(), run(logged_in.url)

    assert [first.stdout, second.stdout] == [token + "\n" for token in logged_in.issued[1:]]
    assert jwt.decode(second.stdout.strip(), options={"verify_signature": False})["sub"] == "alice"
    saved = SavedLogins()
    assert saved.secret_of(saved.find()).token == second.stdout.strip()


def test_a_process_prints_the_token_alone_and_says_nothing(server: TokenServer) -> None:
    line = [COMMAND, "token", server.url, "--user", "alice", "--secret-stdin"]
    done = subprocess.run(line, input=PASSWORD.encode(), capture_output=True, check=False, timeout=60)

    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, server.issued[0] + "\n", b"")


def test_a_password_goes_to_the_server_alone_and_nothing_is_saved(
    server: TokenServer, config_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        result = run(server.url, "--user", "alice", "--secret-stdin", stdin=PASSWORD + "\n")

    assert result.stdout == server.issued[0] + "\n"
    assert json.loads(server.logins[0].body) == {"username": "alice", "password": PASSWORD}
    assert not (config_home / "logins.json").exists()
    assert server.issued[0] not in caplog.text
    assert PASSWORD not in caplog.text


def test_a_personal_token_in_the_environment_is_exchanged(server: TokenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    personal = make_text().value
    monkeypatch.setenv("AIRFLOW_TOKEN", personal)

    result = run(server.url, "--token-env", "AIRFLOW_TOKEN")

    assert result.stdout == server.issued[0] + "\n"
    assert server.logins[0].headers["authorization"] == f"Bearer {personal}"
    assert personal not in result.output


@pytest.mark.parametrize(
    ("status", "error"), [(401, LoginRefused), (403, LoginRefused), (503, LoginUnavailable), (302, LoginUnavailable)]
)
def test_a_login_that_fails_prints_no_token(server: TokenServer, status: int, error: type[Exception]) -> None:
    server.on_login = lambda _got: Answer(status, {"Location": server.url})

    result = run(server.url, "--user", "alice", "--secret-stdin", stdin="wrong\n")

    assert isinstance(result.exception, error)
    assert result.stdout == ""


def test_a_server_that_does_not_answer_ends_with_status_69(config_home: Path) -> None:
    line = [COMMAND, "token", "http://127.0.0.1:9", "--user", "alice", "--secret-stdin"]
    done = subprocess.run(line, input=b"x\n", capture_output=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (69, b"")


def test_without_a_login_it_says_how_to_log_in(config_home: Path) -> None:
    result = run()

    assert isinstance(result.exception, NotLoggedIn)
    assert "compat-auth login" in str(result.exception)


def test_a_password_does_not_cross_a_network_in_clear_text() -> None:
    result = run("http://airflow.example.com", "--user", "alice", "--secret-stdin", stdin="x\n")

    assert isinstance(result.exception, UnsafeAddress)


@pytest.mark.parametrize(
    "line",
    [
        ["--user", "alice", "--kerberos", "http://127.0.0.1:9"],
        ["--user", "alice", "--secret-stdin"],
        ["--secret-stdin", "http://127.0.0.1:9"],
        ["--token-env", "NOT_SET_ANYWHERE", "http://127.0.0.1:9"],
        ["--allow-http"],
    ],
)
def test_a_line_that_means_nothing_is_wrong_usage(line: list[str]) -> None:
    result = run(*line, stdin="x\n")

    assert (result.exit_code, result.stdout) == (2, "")

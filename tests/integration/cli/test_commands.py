"""The command line as an operator uses it: exit codes, messages, nothing secret shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from compat_auth.cli.demo.upstream import write_demo
from compat_auth.errors import BackendNotFound, ConfigError

SECRET = "a-secret-of-more-than-sixty-four-bytes-that-nobody-else-may-ever-see-0123456789"


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(commands, list(arguments), input=stdin)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration that is right in every respect, but for an upstream that is not there."""
    settings, users = write_demo(tmp_path, "http://127.0.0.1:1")
    (tmp_path / "password").write_text(users[0].password)
    path = tmp_path / "compat_auth.toml"
    path.write_text(
        f"""
        auth_backends = "airflow.api.auth.backend.session,airflow.api.auth.backend.basic_auth"
        [upstream]
        url = "http://127.0.0.1:1"
        profile = "generic"
        [token]
        strategy = "shared_secret"
        secret = "{SECRET}"
        [basic_auth]
        directories = ["airflow_db"]
        [airflow_db]
        url = "{settings.airflow_db.url.get_secret_value()}"
        """
    )
    return path


def test_an_unknown_setting_ends_the_real_command_with_78_and_a_hint(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[upstream]\nurll = 'http://127.0.0.1:1'\n")
    program = [sys.executable, "-c", "from compat_auth.cli import main; main()"]

    result = subprocess.run([*program, "check", "--config", "bad.toml"], cwd=tmp_path, capture_output=True, check=False)

    assert result.returncode == 78
    assert b"no such setting; did you mean 'url'?" in result.stdout
    assert b"bad.toml: upstream.urll" in result.stdout
    assert result.stderr == b""


def test_check_names_the_effective_backends_and_what_is_down(config: Path) -> None:
    result = run("check", "--config", str(config))

    assert result.exit_code == 69
    assert "ok   auth_backends: session, basic_auth; mode strict" in result.output
    assert "FAIL upstream: upstream.url: http://127.0.0.1:1 does not accept connections; start it, or" in result.output


def test_check_says_which_setting_a_strategy_lacks(config: Path) -> None:
    config.write_text(config.read_text().replace(SECRET, "short"))

    result = run("check", "--config", str(config))

    assert result.exit_code == 78
    assert "FAIL token: [token] secret: " in result.output


def test_check_says_that_a_backend_is_not_installed(config: Path) -> None:
    config.write_text(config.read_text().replace("backend.session,", "backend.session,basic_outh,"))

    result = run("check", "--config", str(config))

    assert result.exit_code == 78
    assert "auth_backends[1]: no backend named 'basic_outh'; did you mean 'basic_auth'?" in result.output


def test_check_says_that_fab_needs_its_database_for_minted_tokens(config: Path) -> None:
    text = config.read_text().replace('profile = "generic"', 'profile = "airflow-fab"')
    text = text.replace('directories = ["airflow_db"]', 'directories = ["upstream"]')
    config.write_text(text.partition("[airflow_db]")[0])

    result = run("check", "--config", str(config))

    assert result.exit_code == 78
    assert "[airflow_db] url" in result.output


def test_explain_tells_each_backends_verdict_and_the_claims_but_no_secret(config: Path) -> None:
    password = (config.parent / "password").read_text()

    result = run("explain", "--config", str(config), "-u", f"alice:{password}", "GET", "/api/v2/dags?limit=1")

    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert "credential: Basic, user name 'alice', password hidden" in lines
    assert "backend session: not asked: does not accept Basic" in lines
    assert "backend basic_auth: accepts 'alice'" in lines
    claims = json.loads(lines[-1].partition("claims ")[2])
    assert claims["sub"] == "alice"
    assert claims["aud"] == "apache-airflow"
    assert password not in result.output
    assert SECRET not in result.output


def test_explain_tells_the_operator_why_a_password_is_refused(config: Path) -> None:
    result = run("explain", "--config", str(config), "-u", "alice:no", "GET", "/api/v2/dags")

    assert "backend basic_auth: rejects with 401: airflow_db: wrong password" in result.output
    assert "decision: 401" in result.output


@pytest.mark.parametrize(
    ("headers", "target", "expected"),
    [
        pytest.param((), "/static/app.js", "decision: passes unchanged; not below /api/", id="not-protected"),
        pytest.param(
            (), "/api/v2/dags", 'decision: 401, challenges: Basic realm="Airflow", charset="UTF-8"', id="nothing"
        ),
        pytest.param(("Authorization: Bearer x",), "/api/v2/dags", "decision: passes unchanged", id="bearer"),
        pytest.param(("Authorization: Basic x",), "/api/v2/dags", "intake: refused with 401", id="malformed"),
        pytest.param((), "/api/../x", "intake: refused with 400: path: a dot segment", id="dots"),
        pytest.param((), "/api//v2/dags", "intake: 308 to /api/v2/dags", id="slashes"),
    ],
)
def test_explain_tells_what_happens_without_a_backend(
    config: Path, headers: tuple[str, ...], target: str, expected: str
) -> None:
    options = [item for header in headers for item in ("-H", header)]

    result = run("explain", "--config", str(config), *options, "GET", target)

    assert result.exit_code == 0
    assert expected in result.output


def test_explain_asks_for_a_password_that_is_not_given(config: Path) -> None:
    password = (config.parent / "password").read_text()

    result = run("explain", "--config", str(config), "-u", "alice", "GET", "/api/v2/dags", stdin=f"{password}\n")

    assert "accepts 'alice'" in result.output


def test_explain_tells_every_call_that_a_request_of_airflow_2_is_made_of(config: Path) -> None:
    config.write_text(config.read_text().replace('profile = "generic"', 'profile = "airflow-fab"'))
    bearer = ("-H", "Authorization: Bearer of.the.upstream")
    body = ("-d", '{"key": "k", "value": "hush"}')

    result = run("explain", "--config", str(config), *bearer, *body, "POST", "/api/v1/variables")

    lines = result.output.splitlines()
    assert lines[-3:-1] == [
        "operation: post_variables",
        'call 1 (writes): POST /api/v2/variables {"description": null, "key": "k", "value": "(hidden)"}',
    ]
    assert lines[-1].startswith("call 2 (writes), when call 1 is refused with 409: PATCH /api/v2/variables/k?")


def test_explain_tells_the_calls_also_without_a_credential(config: Path) -> None:
    config.write_text(config.read_text().replace('profile = "generic"', 'profile = "airflow-fab"'))

    result = run("explain", "--config", str(config), "GET", "/api/v1/dags/tiny/dagRuns")

    lines = result.output.splitlines()
    assert any(line.startswith("decision: 401") for line in lines)
    assert lines[-1].startswith("with a credential, call 1: GET /api/v2/dags/tiny/dagRuns")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v2/dags", "decision: forwarded as 'alice'"),
        (
            "/api/v2/pools",
            "decision: 403: the credential's scopes do not cover this request; it needs GET:/api/v2/pools",
        ),
    ],
)
def test_explain_tells_what_a_limited_token_may_and_may_not(config: Path, path: str, expected: str) -> None:
    text = config.read_text().replace("backend.session,", "backend.session,personal_token,")
    config.write_text(f'database_url = "sqlite:///{config.parent}/state.db"\n{text}')
    options = ("--user", "alice", "--name", "n", "--scope", "GET /api/v2/dags")
    (token,) = run("tokens", "create", "--config", str(config), *options).stdout.split()

    result = run("explain", "--config", str(config), "-H", f"Authorization: Bearer {token}", "GET", path)

    assert expected in result.output
    assert token not in result.output


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"dag_runs": [{"dag_run_id": "r"}]}', "decision: forwarded as 'alice'"),
        ('{"dag_runs": [{"dag_id": "b", "dag_run_id": "r"}]}', "it needs POST:/api/v2/dags/b/clearDagRuns"),
        ('{"dag_runs": "all"}', "it needs POST:/api/v2/dags/~/clearDagRuns"),
    ],
)
def test_explain_reads_the_body_where_a_limit_hangs_on_it(config: Path, body: str, expected: str) -> None:
    text = config.read_text().replace("backend.session,", "backend.session,personal_token,")
    config.write_text(f'database_url = "sqlite:///{config.parent}/state.db"\n{text}')
    options = ("--user", "alice", "--name", "n", "--scope", "dags:a")
    (token,) = run("tokens", "create", "--config", str(config), *options).stdout.split()
    asked = ("-H", f"Authorization: Bearer {token}", "-d", body, "POST", "/api/v2/dags/a/clearDagRuns")

    result = run("explain", "--config", str(config), *asked)

    assert expected in result.output


def test_a_header_without_a_colon_is_a_usage_error(config: Path) -> None:
    result = run("explain", "--config", str(config), "-H", "nonsense", "GET", "/api/v2/dags")

    assert result.exit_code == 2


def test_backends_lists_what_is_installed_and_what_it_needs() -> None:
    result = run("backends")

    assert result.exit_code == 0
    assert "Needs: [basic_auth] directories." in result.output
    assert "Needs: [airflow_db] url." in result.output
    assert "airflow.api.auth.backend.basic_auth -> basic_auth" in result.output


def test_backends_for_programs_say_what_is_usable() -> None:
    result = run("backends", "--json")

    found = json.loads(result.stdout)
    (basic,) = [one for one in found["backends"] if one["name"] == "basic_auth"]
    assert (basic["usable"], "Needs: [basic_auth] directories." in basic["summary"]) == (True, True)
    assert found["airflow_names"]["airflow.api.auth.backend.basic_auth"] == "basic_auth"


def test_serve_refuses_to_start_without_an_upstream(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("")

    result = CliRunner().invoke(commands, ["serve", "--config", str(tmp_path / "empty.toml")])

    assert isinstance(result.exception, ConfigError)
    assert "upstream.url: not set" in str(result.exception)


def test_serve_refuses_an_unknown_backend_before_it_serves(config: Path) -> None:
    config.write_text(config.read_text().replace("backend.session,", "backend.session,no_such,"))

    result = CliRunner().invoke(commands, ["serve", "--config", str(config), "--bind", "127.0.0.1:0"])

    assert isinstance(result.exception, BackendNotFound)


def test_serve_names_no_listener_before_it_knows_that_it_can_serve(tmp_path: Path) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text(
        'trusted_proxies = ["127.0.0.1/32"]\n[upstream]\nurl = "http://127.0.0.1:9"\nprofile = "generic"\n'
        '[forward_auth]\nbind = "127.0.0.1:0"\n[session]\nsecret = "short"\n',
        encoding="utf-8",
    )

    result = CliRunner().invoke(commands, ["serve", "--config", str(config)])

    assert isinstance(result.exception, ConfigError)
    assert "session.secret" in str(result.exception)
    assert result.output == ""


def test_the_demo_runs_its_own_commands() -> None:
    result = run("demo", "--check", "--port", "0")

    assert result.exit_code == 0, result.output
    assert result.output.startswith("ok   curl -u alice:")

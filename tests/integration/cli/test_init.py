"""`compat-auth init`: what it finds by itself, what it asks, and what it never does."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from compat_auth.errors import ConfigError
from support.serving import served
from support.stub_airflow import StubAirflow

COMMAND = str(Path(sys.executable).with_name("compat-auth"))
SECRET = "0123456789abcdef" * 4


class Simple(StubAirflow):
    manager = "simple"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("AIRFLOW", "COMPAT_AUTH", "KRB5"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return iter([None])


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["init", *arguments])


def content() -> dict[str, object]:
    return tomllib.loads(Path("compat_auth.toml").read_text(encoding="utf-8"))


def write_cfg(text: str) -> Path:
    folder = Path("airflow")
    folder.mkdir()
    path = folder / "airflow.cfg"
    path.write_text(text, encoding="utf-8")
    return path.absolute()


def test_a_running_airflow_is_asked_what_it_is() -> None:
    with served(Simple) as url:
        result = run("--yes", "--airflow-url", f"{url}/")

    assert result.exit_code == 0
    assert content()["upstream"] == {"url": url, "profile": "airflow-simple"}
    assert "compat-auth check\n  compat-auth serve\n" in result.output


def test_the_old_list_is_found_where_airflow_has_it() -> None:
    path = write_cfg("[api]\nauth_backends = airflow.api.auth.backend.basic_auth\nbase_url = http://127.0.0.1:9/x\n")

    result = run("--yes")

    assert result.exit_code == 0
    assert content()["airflow_cfg"] == str(path)
    assert content()["upstream"] == {"url": "http://127.0.0.1:9/x", "profile": "airflow-fab"}


def test_a_file_named_from_this_folder_is_found_from_every_folder() -> None:
    path = write_cfg("[api]\nauth_backends = airflow.api.auth.backend.basic_auth\n")

    result = run("--yes", "--airflow-cfg", "airflow/airflow.cfg", "--airflow-url", "http://127.0.0.1:9")

    assert result.exit_code == 0
    assert content()["airflow_cfg"] == str(path)


def test_what_airflow_3_has_generated_is_no_list() -> None:
    write_cfg("[fab]\nauth_backends = airflow.providers.fab.auth_manager.api.auth.backend.session\n")

    result = run("--yes")

    assert result.exit_code == 0
    assert content()["auth_backends"] == ["basic_auth"]
    assert "no auth_backends of Airflow 2" in result.output


def test_airflow_s_own_secret_and_database_are_taken() -> None:
    write_cfg(f"[api_auth]\njwt_secret = {SECRET}\n[database]\nsql_alchemy_conn = sqlite:////x/airflow.db\n")

    result = run("--yes", "--keytab", "none")

    assert result.exit_code == 0
    assert content()["token"] == {"strategy": "shared_secret", "secret": SECRET}
    assert content()["airflow_db"] == {"url": "sqlite:////x/airflow.db"}
    assert SECRET not in result.output


def test_only_the_owner_can_read_the_file() -> None:
    run("--yes")

    assert stat.S_IMODE(Path("compat_auth.toml").stat().st_mode) == 0o600


def test_a_file_that_is_there_stays_and_nothing_is_left_beside_it() -> None:
    Path("compat_auth.toml").write_text("# mine\n", encoding="utf-8")

    result = run("--yes")

    assert isinstance(result.exception, ConfigError)
    assert Path("compat_auth.toml").read_text(encoding="utf-8") == "# mine\n"
    assert [path.name for path in Path().iterdir()] == ["compat_auth.toml"]


def test_force_replaces_a_file() -> None:
    Path("compat_auth.toml").write_text("# mine\n", encoding="utf-8")

    result = run("--yes", "--force")

    assert result.exit_code == 0
    assert content()["auth_backends"] == ["basic_auth"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--bind", "nowhere"], "--bind: 'nowhere'"),
        (["--airflow-url", "ftp://x"], "--airflow-url: scheme 'ftp'"),
        (["--jwt-secret-file", "absent"], "--jwt-secret-file: absent: cannot be read"),
        (["--airflow-cfg", "absent"], "--airflow-cfg: absent: cannot be read"),
        (["--output", "absent/compat_auth.toml"], "--output: absent/compat_auth.toml: cannot be written"),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_written(arguments: list[str], named: str) -> None:
    result = run("--yes", *arguments)

    assert isinstance(result.exception, ConfigError)
    assert named in str(result.exception)
    assert list(Path().iterdir()) == []


def test_at_a_terminal_it_asks_and_takes_what_is_typed(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with (
        served(Simple) as url,
        subprocess.Popen(
            [COMMAND, "init"], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path
        ) as process,
    ):
        os.close(theirs)
        os.write(ours, f"none\n{url}\nnone\n".encode())
        output, _ = process.communicate(timeout=60)
        os.close(ours)

    assert process.returncode == 0
    assert "airflow.cfg with the old auth_backends" in output
    assert content()["upstream"] == {"url": url, "profile": "airflow-simple"}

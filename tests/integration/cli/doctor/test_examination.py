"""`doctor` around the peers: what it asks when, and how it says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import jwt
import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from compat_auth.cli.doctor import examination
from compat_auth.concurrency.clock import unix_now
from compat_auth.tokens.keys.key_file import read_key_file
from compat_auth.tokens.keys.keys import create_keys, rotate_keys
from support.serving import served
from support.stub_airflow import SECRET, StubAirflow

CONFIGURATION = """
auth_backends = ["basic_auth"]
database_url = "sqlite:///@TMP@/store.db"
[serve]
bind = "127.0.0.1:0"
[basic_auth]
directories = ["htpasswd"]
[htpasswd]
file = "@TMP@/users"
[upstream]
url = "@URL@"
profile = "airflow-simple"
roles = { "*" = "VIEWER" }
[token]
strategy = "shared_secret"
secret = "@SECRET@"
"""


class Simple(StubAirflow):
    manager = "simple"


class Strict(Simple):
    """It rejects a token from the future, as Airflow does, and its clock is behind."""

    clock_s = -1200

    def _judge(self) -> tuple[int, str]:
        status, body = super()._judge()
        return (403, '{"detail": "Invalid JWT token"}') if status == 200 else (status, body)


class Keyed(Simple):
    """It trusts our public keys of these ids."""

    keys: ClassVar[dict[str, Any]] = {}

    def _judge(self) -> tuple[int, str]:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        key = self.keys.get(jwt.get_unverified_header(token)["kid"])
        if key is None:
            return 403, '{"detail": "Invalid JWT token"}'
        try:
            jwt.decode(token, key, algorithms=["EdDSA"], audience=self.audience)
        except jwt.ExpiredSignatureError:
            return 401, '{"detail": "Token Expired"}'
        return 200, "{}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with users."""
    monkeypatch.chdir(tmp_path)
    run("users", "add", "alice", "--file", "users", "--password-stdin", stdin="a-long-enough-password\n")
    return tmp_path


@pytest.fixture
def airflow() -> Iterator[str]:
    with served(Simple) as url:
        yield url


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(commands, list(arguments), input=stdin)


def configure(folder: Path, url: str) -> None:
    text = CONFIGURATION.replace("@TMP@", str(folder)).replace("@URL@", url).replace("@SECRET@", SECRET)
    (folder / "compat_auth.toml").write_text(text)
    (folder / "compat_auth.toml").chmod(0o600)


def found_by(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("doctor", "--json", *arguments).stdout)
    return found


def test_a_right_setup_exits_0_and_says_each_line(folder: Path, airflow: str) -> None:
    configure(folder, airflow)

    result = run("doctor")

    assert result.exit_code == 0, result.output
    assert "ok   upstream token: the upstream accepts our token" in result.stdout
    assert "--   redis round trip: redis_url is not set" in result.stdout
    assert "FAIL" not in result.stdout
    assert "WARN" not in result.stdout


def test_each_result_has_the_members_of_check_and_a_status(folder: Path, airflow: str) -> None:
    configure(folder, airflow)

    found = found_by()

    assert all(set(one) == {"id", "status", "ok", "what", "where", "next"} for one in found)
    assert {one["status"] for one in found} <= {"ok", "warning", "failure", "not asked"}


def test_without_a_configuration_the_failure_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    failures = [one for one in found_by() if not one["ok"]]

    assert [one["id"] for one in failures] == ["configuration"]
    assert "pass --config FILE" in failures[0]["next"]


def test_clocks_that_differ_are_one_failure(folder: Path) -> None:
    with served(Strict) as url:
        configure(folder, url)
        found = found_by()

    assert [one["id"] for one in found if not one["ok"]] == ["upstream clock"]
    assert [one["status"] for one in found if one["id"] == "upstream token"] == ["not asked"]


def test_each_key_is_tried_at_the_upstream(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_keys(folder / "keys.json", algorithm="EdDSA", now=unix_now() - 86_400)
    rotate_keys(folder / "keys.json", overlap_s=7200, now=unix_now())
    first, second = read_key_file(folder / "keys.json").keys
    monkeypatch.setattr(Keyed, "keys", {first.kid: first.private.public_key()})
    with served(Keyed) as url:
        configure(folder, url)
        text = (folder / "compat_auth.toml").read_text()
        strategy = f'strategy = "key_pair"\nkey_file = "{folder}/keys.json"\n'
        (folder / "compat_auth.toml").write_text(text.partition("strategy")[0] + strategy)
        found = {one["what"].partition(" ")[0]: one for one in found_by() if one["id"] == "upstream keys"}

    assert found[first.kid]["status"] == "ok"
    assert found[second.kid]["status"] == "warning"
    assert "not trusted yet" in found[second.kid]["what"]


def test_a_question_that_fails_by_our_mistake_hides_no_other(
    folder: Path, airflow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(folder, airflow)

    def broken(*_: object) -> object:
        raise RuntimeError("hush")

    monkeypatch.setattr(examination, "examine_keys", broken)

    found = found_by()

    assert [(one["id"], one["status"]) for one in found if one["status"] == "warning"] == [("keys", "warning")]
    assert "hush" not in json.dumps(found)
    assert found[-1]["id"] == "airflow.cfg"


def test_the_plugin_needs_no_configuration_of_a_gateway(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = folder / "airflow.cfg"
    cfg.write_text(
        "[api_auth]\njwt_secret = 0123456789\n[compat_auth]\nauth_backends = basic_auth\n"
        f"basic_auth__directories = htpasswd\nhtpasswd__file = {folder}/users\n"
    )
    monkeypatch.setenv("AIRFLOW_HOME", str(folder))

    found = found_by()

    assert [one for one in found if not one["ok"]] == []
    assert any("the plugin in Airflow" in one["what"] for one in found)


def test_a_wrong_setting_of_the_plugin_is_found(folder: Path) -> None:
    (folder / "airflow.cfg").write_text(
        "[api_auth]\njwt_secret = 0123456789\n[compat_auth]\nauth_backend = basic_auth\n"
    )

    failures = [one for one in found_by("--airflow-cfg", "airflow.cfg") if not one["ok"]]

    assert len(failures) == 1
    assert "auth_backend" in failures[0]["where"]


def test_an_airflow_cfg_that_is_not_there_is_found(folder: Path, airflow: str) -> None:
    configure(folder, airflow)

    failures = [one for one in found_by("--airflow-cfg", "none.cfg") if not one["ok"]]

    assert [one["id"] for one in failures] == ["airflow.cfg"]
    assert "none.cfg" in failures[0]["where"] + failures[0]["what"]

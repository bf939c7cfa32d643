"""The archive for a helper: canaries in every place where a secret can be are not in it."""

from __future__ import annotations

import json
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands

CANARY = "canary"
CONFIGURATION = """
auth_backends = ["basic_auth"]
database_url = "postgresql+psycopg://gate:canary-database-password@127.0.0.1:1/gate"
redis_url = "redis://:canary-redis-password@127.0.0.1:1/0"
redis_secret = "canary-redis-secret-0123456789abcdef0123456789"
[basic_auth]
directories = ["htpasswd", "ldap"]
[htpasswd]
file = "@TMP@/users"
[ldap]
url = "ldaps://127.0.0.1:1"
base = "dc=example"
bind_dn = "cn=service"
bind_password = "canary-bind-password"
[upstream]
url = "http://127.0.0.1:1"
[token]
strategy = "shared_secret"
secret = "canary-token-secret-of-more-than-sixty-four-bytes-0123456789abcdef0123456789"
[session]
secrets = ["canary-session-secret-0123456789abcdef"]
[airflow_db]
url = "postgresql://airflow:canary-airflow-password@127.0.0.1:1/airflow"
[backends.acme]
shared = "canary-of-a-backend"
"""
LOG = """2026-11-30 12:00:00 INFO compat_auth.server listening on 127.0.0.1:8088
Authorization: Basic Y2FuYXJ5OmNhbmFyeS1wYXNzd29yZA==
Cookie: session=canary-cookie; _token=canary-cookie-too
GET /x?code=canary-code&state=canary-state
cannot ask postgresql://gate:canary-database-password@db/gate
Bearer eyJjYW5hcnkiOiJjYW5hcnkifQ.eyJjYW5hcnkiOiJjYW5hcnkifQ.canary-signature
password=canary-in-a-log
canary-of-the-environment and canary-of-a-file-0123456789abcdef0123456789
"""
# Each of these is a canary in another form.
FORMS = ("canary", "Y2FuYXJ5", "eyJjYW5hcnki")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the configuration, a log, and a password file with a hash in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users").write_text("alice:$2b$04$canarycanarycanarycanarycanarycanarycanarycanarycanary\n")
    (tmp_path / "c.toml").write_text(CONFIGURATION.replace("@TMP@", str(tmp_path)))
    (tmp_path / "gate.log").write_text(LOG)
    (tmp_path / "pepper").write_text("canary-of-a-file-0123456789abcdef0123456789\n")
    (tmp_path / "airflow.cfg").write_text(
        "[api_auth]\njwt_secret = canary-of-airflow\n[core]\nfernet_key = canary-fernet\n"
    )
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    monkeypatch.setenv("COMPAT_AUTH_PERSONAL_TOKENS__PEPPER_FILE", str(tmp_path / "pepper"))
    monkeypatch.setenv("SOME_API_TOKEN", "canary-of-the-environment")
    monkeypatch.setenv("COMPAT_AUTH_FORWARD_AUTH__SECRET", "canary-of-our-environment-0123456789")
    monkeypatch.setenv("COMPAT_AUTH_TRUSTED_PROXIES", "127.0.0.1/32")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["doctor", *arguments])


def content_of(bundle: Path) -> Mapping[str, str]:
    with tarfile.open(bundle) as archive:
        found = {Path(member.name).name: archive.extractfile(member) for member in archive.getmembers()}
        return {name: file.read().decode() for name, file in found.items() if file is not None}


def test_no_secret_is_in_the_archive_nor_in_the_output(place: Path) -> None:
    result = run("--config", "c.toml", "--bundle", "b.tgz", "--log", "gate.log", "--airflow-cfg", "airflow.cfg")

    found = content_of(place / "b.tgz")
    assert result.exit_code == 78
    assert sorted(found) == [
        "README.txt", "configuration.json", "environment.txt", "files.txt", "findings.json", "log.txt", "versions.json"
    ]  # fmt: skip
    for name, text in {**found, "output": result.output}.items():
        assert not [form for form in FORMS if form in text], name


def test_the_archive_still_helps(place: Path) -> None:
    run("--config", "c.toml", "--bundle", "b.tgz", "--log", "gate.log")

    found = content_of(place / "b.tgz")
    configuration = json.loads(found["configuration.json"])
    assert configuration["database_url"] == "postgresql+psycopg://(hidden)@127.0.0.1:1/gate"
    assert configuration["ldap"]["bind_password"] == "(hidden)"
    assert configuration["backends"] == {"acme": {"shared": "(hidden)"}}
    assert "COMPAT_AUTH_FORWARD_AUTH__SECRET\n" in found["environment.txt"]
    assert f"htpasswd.file: {place}/users: -rw-------" in found["files.txt"]
    assert "listening on 127.0.0.1:8088" in found["log.txt"]
    assert any(result["id"] == "database_url" and not result["ok"] for result in json.loads(found["findings.json"]))


def test_the_archive_is_for_its_owner_only(place: Path) -> None:
    run("--config", "c.toml", "--bundle", "b.tgz")

    assert stat.S_IMODE((place / "b.tgz").stat().st_mode) == 0o600


def test_a_file_that_is_there_is_kept(place: Path) -> None:
    (place / "b.tgz").write_text("mine")

    result = run("--config", "c.toml", "--bundle", "b.tgz")

    assert "exists already; name another file" in str(result.exception)
    assert (place / "b.tgz").read_text() == "mine"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('[tokn]\nsecrt = "canary-misspelled"\n', id="misspelled"),
        pytest.param('mode = "canary-in-another-place"\n', id="wrong-value"),
        pytest.param("secret = canary without quotes\n", id="no-toml"),
        pytest.param('[token]\nsecret = ["canary-in-a-list"]\n', id="list"),
    ],
)
def test_a_wrong_configuration_shows_its_shape_and_no_text(place: Path, text: str) -> None:
    (place / "c.toml").write_text(text)

    result = run("--config", "c.toml", "--bundle", "b.tgz")

    found = content_of(place / "b.tgz")
    assert result.exit_code == 78
    assert CANARY not in found["configuration.json"]
    assert "canary-misspelled" not in str(found)
    assert "canary-in-a-list" not in str(found)


def test_a_log_without_a_bundle_is_wrong_usage(place: Path) -> None:
    result = run("--config", "c.toml", "--log", "gate.log")

    assert result.exit_code == 2
    assert "--log needs --bundle" in result.output


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("COMPAT_AUTH_PERSONAL_TOKENS__ENABLED", "true", id="true"),
        pytest.param("COMPAT_AUTH_TOKEN__TTL_S", "3600", id="number"),
        pytest.param("TOKENIZERS_PARALLELISM", "false", id="false"),
        pytest.param("AIRFLOW_PASSWORD", "secret", id="common-word"),
        pytest.param("AIRFLOW_PASSWORD", "8088", id="port"),
        pytest.param("COMPAT_AUTH_DATABASE_URL", "postgresql+psycopg://gate:secret@127.0.0.1:1/gate", id="url"),
        pytest.param("PWD", "/tmp", id="folder"),
    ],
)
def test_an_ordinary_environment_is_no_reason_to_write_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(name, text)

    run("--config", "c.toml", "--bundle", "b.tgz", "--log", "gate.log")

    assert content_of(place / "b.tgz")["README.txt"].startswith("`compat-auth doctor")

"""The Compose file in deploy/: as the Compose Specification wants it, complete, and closed to other machines."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from cryptography.fernet import Fernet

from compat_auth.config import load_settings
from support.container_steps import instructions
from support.peers.deploy_tools import compose_fault

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "compose"
FILE = FOLDER / "compose.yaml"
CONTENT = cast("dict[str, Any]", yaml.safe_load(FILE.read_text(encoding="utf-8")))
SERVICES = cast("dict[str, dict[str, Any]]", CONTENT["services"])
OWNER = os.getuid() or 1234


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after make-secrets."""
    folder = tmp_path_factory.mktemp("compose")
    for name in ("make-secrets", ".env.example", "compat_auth.toml"):
        (folder / name).write_bytes((FOLDER / name).read_bytes())
    (folder / "make-secrets").chmod(0o755)
    made = make_secrets(folder)
    assert made.returncode == 0, made.stderr
    return folder


def make_secrets(folder: Path, *, sudo_uid: int | None = OWNER) -> subprocess.CompletedProcess[str]:
    """Run make-secrets; root runs it with sudo, on behalf of that user."""
    environment = {name: value for name, value in os.environ.items() if name != "SUDO_UID"}
    if sudo_uid is not None:
        environment["SUDO_UID"] = str(sudo_uid)
    return subprocess.run([folder / "make-secrets"], capture_output=True, check=False, text=True, env=environment)


def secret(folder: Path, name: str) -> str:
    return (folder / "secrets" / name).read_text()


def filled_in() -> str:
    """Return the file with the default of each variable, and merged, as Compose reads it."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", FILE.read_text(encoding="utf-8"))
    return json.dumps(yaml.safe_load(text))


def test_the_file_is_one_of_the_compose_specification() -> None:
    assert compose_fault(filled_in()) == ""


def test_a_misspelt_key_would_be_noticed() -> None:
    assert compose_fault(filled_in().replace("depends_on", "depends_upon", 1)) != ""


def test_every_secret_network_volume_and_dependency_is_defined() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("secrets", [])) <= set(CONTENT["secrets"]), name
        assert set(service.get("networks", [])) <= set(CONTENT["networks"]), name
        assert set(service.get("depends_on", {})) <= set(SERVICES), name
        mounted = [volume.partition(":")[0] for volume in service.get("volumes", [])]
        assert {one for one in mounted if not one.startswith(".")} <= set(CONTENT["volumes"]), name


def test_every_defined_secret_is_used_and_every_used_file_of_a_secret_is_mounted() -> None:
    used = {one for service in SERVICES.values() for one in service.get("secrets", [])}
    missing = [
        f"{name}: {found}"
        for name, service in SERVICES.items()
        for found in re.findall(r"/run/secrets/(\w+)", yaml.safe_dump(service))
        if found not in service.get("secrets", [])
    ]

    assert used == set(CONTENT["secrets"])
    assert missing == []


def test_whoever_waits_for_a_healthy_service_waits_for_one_that_is_checked() -> None:
    waited = {
        other
        for service in SERVICES.values()
        for other, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_healthy"
    }
    checked = {name for name, service in SERVICES.items() if "healthcheck" in service}

    assert waited <= checked


def test_the_image_of_compat_auth_has_a_health_check_of_its_own() -> None:
    build = SERVICES["compat-auth"]["build"]
    steps = dict(instructions(FOLDER / build["context"] / build["dockerfile"]))

    assert "HEALTHCHECK" in steps


def test_only_the_loopback_address_of_this_machine_is_bound() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_airflow_and_its_databases_are_in_a_network_without_a_way_out() -> None:
    inside = {name for name, service in SERVICES.items() if service["networks"] == ["inside"]}

    assert CONTENT["networks"]["inside"] == {"internal": True}
    assert inside == set(SERVICES) - {"compat-auth"}


def test_no_value_of_the_environment_is_a_secret() -> None:
    suspicious = re.compile(r"PASSWORD|SECRET|KEY|URL|CONN", re.IGNORECASE)
    named = {
        f"{name}: {variable}"
        for name, service in SERVICES.items()
        for variable, value in service.get("environment", {}).items()
        if suspicious.search(variable)
        and not variable.endswith(("_FILE", "_CMD"))
        and not str(value).startswith("http://")
    }

    assert named == set()


def test_every_variable_has_a_default_and_is_in_the_example() -> None:
    variables = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", FILE.read_text(encoding="utf-8")))
    example = dict(re.findall(r"^(\w+)=(.*)$", (FOLDER / ".env.example").read_text(), re.MULTILINE))

    assert re.findall(r"\$\{\w+\}", FILE.read_text(encoding="utf-8")) == []
    assert example == variables


def test_every_secret_is_made_for_its_owner_alone(prepared: Path) -> None:
    made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (prepared / "secrets").iterdir()}

    files = {Path(one["file"]).name for one in CONTENT["secrets"].values()}
    # The script of PostgreSQL's image reads this one as that image's own user; the folder keeps others away.
    assert made == dict.fromkeys(files, 0o600) | {"compat_auth_database_password": 0o644}
    assert stat.S_IMODE((prepared / "secrets").stat().st_mode) == 0o700
    assert {path.stat().st_uid for path in [prepared / "secrets", *(prepared / "secrets").iterdir()]} == {OWNER}
    assert f"RUN_AS={OWNER}\n" in (prepared / ".env").read_text()


@pytest.mark.parametrize("sudo_uid", [None, 0], ids=["no-sudo", "sudo-of-root"])
def test_no_secrets_are_made_for_root(tmp_path: Path, sudo_uid: int | None) -> None:
    # Any user may run this test: `id` says that it is root.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "id").write_text("#!/bin/sh\necho 0\n")
    (tmp_path / "bin" / "id").chmod(0o755)
    script = tmp_path / "make-secrets"
    path = f"PATH={tmp_path / 'bin'}:$PATH\n"
    script.write_text((FOLDER / "make-secrets").read_text().replace("set -eu\n", f"set -eu\n{path}", 1))
    script.chmod(0o755)

    refused = make_secrets(tmp_path, sudo_uid=sudo_uid)

    assert refused.returncode == 1
    assert "run it as another user" in refused.stderr
    assert not (tmp_path / "secrets").exists()


@pytest.mark.parametrize(
    ("password", "statements"),
    [("p4ss", 1), ("", 0), (None, 0)],
    ids=["there", "empty", "missing"],
)
def test_no_database_role_is_made_without_a_password(tmp_path: Path, password: str | None, statements: int) -> None:
    (tmp_path / "psql").write_text(f"#!/bin/sh\ncat >>{tmp_path}/said\n")
    (tmp_path / "psql").chmod(0o755)
    if password is not None:
        (tmp_path / "compat_auth_database_password").write_text(password)
    script = (FOLDER / "postgres-init.sh").read_text().replace("/run/secrets", str(tmp_path))
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    done = subprocess.run(["sh", "-c", script], capture_output=True, check=False, text=True, env=environment)

    said = (tmp_path / "said").read_text() if (tmp_path / "said").exists() else ""
    assert (done.returncode == 0) is bool(statements)
    assert said.count("LOGIN PASSWORD 'p4ss'") == said.count("CREATE ROLE") == statements


def test_postgresql_is_healthy_only_once_it_answers_by_tcp() -> None:
    assert "--host=127.0.0.1" in SERVICES["postgres"]["healthcheck"]["test"]


def test_secrets_that_are_there_stay(prepared: Path) -> None:
    before = {path.name: path.read_text() for path in (prepared / "secrets").iterdir()}

    made = make_secrets(prepared)

    assert made.returncode == 0
    assert {path.name: path.read_text() for path in (prepared / "secrets").iterdir()} == before


def test_the_made_secrets_are_ones_that_airflow_and_compat_auth_accept(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, file in SERVICES["compat-auth"]["environment"].items():
        monkeypatch.setenv(variable, str(prepared / "secrets" / Path(file).name))

    settings = load_settings(str(prepared / "compat_auth.toml"))

    assert len(settings.token.secret.get_secret_value()) >= 64
    assert settings.redis_url.get_secret_value() == secret(prepared, "redis_url")
    assert secret(prepared, "redis_url").split(":")[2].startswith(secret(prepared, "redis_conf").split()[1])
    assert Fernet(secret(prepared, "fernet_key"))
    assert secret(prepared, "postgres_password") in secret(prepared, "airflow_database_url")

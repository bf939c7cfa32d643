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


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after make-secrets."""
    folder = tmp_path_factory.mktemp("compose")
    for name in ("make-secrets", ".env.example", "compat_auth.toml"):
        (folder / name).write_bytes((FOLDER / name).read_bytes())
    (folder / "make-secrets").chmod(0o755)
    subprocess.run([folder / "make-secrets"], check=True, capture_output=True)
    return folder


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
    assert made == dict.fromkeys(files, 0o600)
    assert stat.S_IMODE((prepared / "secrets").stat().st_mode) == 0o700
    assert f"RUN_AS={os.getuid()}\n" in (prepared / ".env").read_text()


def test_secrets_that_are_there_stay(prepared: Path) -> None:
    before = {path.name: path.read_text() for path in (prepared / "secrets").iterdir()}

    subprocess.run([prepared / "make-secrets"], check=True, capture_output=True)

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

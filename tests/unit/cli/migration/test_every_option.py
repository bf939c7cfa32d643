"""No option that `compat-auth import` knows is dropped silently, whatever its value."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from compat_auth.cli import commands
from compat_auth.cli.migration import fab_options, options

VALUES = ("x", "1", "True", "600", "/etc/file", "postgresql://reader:pa@db/airflow")
LIST = "[api]\nauth_backends = airflow.api.auth.backend.kerberos_auth, airflow.api.auth.backend.session\n"
NAMES = sorted({*fab_options._IN_LDAP, *fab_options._IMPOSSIBLE, *fab_options._UNNEEDED, *fab_options._OWN})  # pyright: ignore[reportPrivateUsage]  # all that it knows


def imported(**files: str) -> str:
    for name, text in files.items():
        Path(name.replace("__", ".")).write_text(text, encoding="utf-8")
    paths = [name.replace("__", ".") for name in files]
    return CliRunner().invoke(commands, ["import", *paths, "--force"]).output


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(("section", "key"), sorted(options.RULES))
def test_an_option_that_is_set_is_named(section: str, key: str, value: str) -> None:
    text = (
        LIST.replace("[api]\n", f"[api]\n{key} = {value}\n")
        if section == "api"
        else f"{LIST}[{section}]\n{key} = {value}\n"
    )

    assert f"[{section}] {key}" in imported(airflow__cfg=text)


@pytest.mark.parametrize("value", ["'x'", "1", "True", "[]", "{'a': ['b']}", "computed()"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_the_python_is_named(name: str, value: str) -> None:
    assert f" {name} (" in imported(webserver_config__py=f"AUTH_TYPE = 2\n{name} = {value}\n")

"""`compat-auth settings`: everything that can be set, in words, for programs, and as a file."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from compat_auth.cli.settings.described import described
from compat_auth.cli.settings.example import example_text
from compat_auth.config import parse_settings
from compat_auth.errors import InvalidValue

EXAMPLE = Path(__file__).parents[4] / "compat_auth.example.toml"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["settings", *arguments])


def uncommented(text: str, *, repeated: bool) -> str:
    """Return the file with each setting in force, with or without the tables that may be there several times."""
    lines, skipped = list[str](), False
    for line in text.splitlines():
        if line.startswith("#["):
            skipped = line.startswith("#[[") and not repeated
        if not skipped:
            lines.append(re.sub(r"^#(?=[a-z\[])", "", line))
    return "\n".join(lines)


def test_the_example_in_the_repository_is_the_one_that_the_command_prints() -> None:
    assert EXAMPLE.read_text(encoding="utf-8") == run("--example").output


def test_every_default_in_the_example_is_the_default() -> None:
    every = parse_settings(tomllib.loads(uncommented(example_text(), repeated=False)), origin="example")

    assert every == parse_settings({}, origin="test")


def test_the_example_has_every_setting() -> None:
    content = tomllib.loads(uncommented(example_text(), repeated=True))

    missing: list[str] = []
    for setting in (setting for group in described() for setting in group.settings):
        place = content
        for key in setting.path[:-1]:
            inner = place[key]
            place = inner[0] if isinstance(inner, list) else inner
        if setting.path[-1] not in place:
            missing.append(setting.name)

    assert missing == []


def test_without_a_name_every_setting_is_listed_with_its_default() -> None:
    output = run().output

    assert "\n[token]\nstrategy " in output
    assert len(output.splitlines()) > sum(len(group.settings) for group in described())


def test_a_setting_is_explained_with_type_default_and_variable() -> None:
    output = run("token.strategy").output

    assert 'Type: one of "exchange", "shared_secret"' in output
    assert "COMPAT_AUTH_TOKEN__STRATEGY" in output
    assert "token.algorithm" not in output


@pytest.mark.parametrize("name", ["oidc", "[oidc]"])
def test_a_section_is_explained_with_the_tables_in_it(name: str) -> None:
    output = run(name).output

    assert "[oidc]\n" in output
    assert "[[oidc.issuers]]\n" in output


def test_programs_get_the_default_as_a_value() -> None:
    (found,) = json.loads(run("auth_backends", "--json").output)

    assert found["default"] == ["session", "basic_auth"]
    assert not found["is_required"]


@pytest.mark.parametrize(("name", "meant"), [("strategy", "token.strategy"), ("ldpa", "ldap"), ("zzzz", "")])
def test_a_name_that_does_not_exist_is_refused_with_what_may_be_meant(name: str, meant: str) -> None:
    result = run(name)

    assert isinstance(result.exception, InvalidValue)
    assert f"did you mean {meant}" in str(result.exception) or not meant
    assert "compat-auth settings lists all of them" in str(result.exception)

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.cli.keys import keys
from compat_auth.errors import CompatAuthError, KeyFileError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(keys, [str(argument) for argument in arguments])


def listed(path: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(run("list", "--file", path, "--json").output)
    return found


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256"])
def test_a_new_key_signs_at_once(path: Path, algorithm: str) -> None:
    result = run("create", "--file", path, "--algorithm", algorithm)

    assert result.exit_code == 0
    assert [(key["algorithm"], key["state"], key["retires"]) for key in listed(path)] == [(algorithm, "current", None)]


def test_create_refuses_to_overwrite(path: Path) -> None:
    run("create", "--file", path)

    result = run("create", "--file", path)

    assert isinstance(result.exception, KeyFileError)
    assert result.exception.exit_code == 78


def test_a_rotation_shows_in_the_list(path: Path) -> None:
    run("create", "--file", path)

    result = run("rotate", "--file", path, "--overlap", 100)

    current, following = listed(path)
    assert result.exit_code == 0
    assert (current["state"], following["state"]) == ("current", "next")
    assert following["kid"] in result.output.split()
    shown = run("list", "--file", path).output
    assert [line.split()[2] for line in shown.splitlines()] == ["current", "next"]


def test_a_key_is_taken_out_by_its_kid(path: Path) -> None:
    run("create", "--file", path)
    run("rotate", "--file", path)
    current, following = listed(path)

    refused = run("retire", current["kid"], "--file", path)
    forced = run("retire", current["kid"], "--file", path, "--force")

    assert isinstance(refused.exception, CompatAuthError)
    assert "--force" in str(refused.exception)
    assert forced.exit_code == 0
    assert [key["kid"] for key in listed(path)] == [following["kid"]]


def test_a_kid_that_begins_with_a_dash_can_be_retired(path: Path) -> None:
    run("create", "--file", path)

    result = run("retire", "--file", path, "--", "-kid")

    assert isinstance(result.exception, KeyFileError)
    assert "no key '-kid'" in str(result.exception)


def test_the_printed_jwks_is_public_and_complete(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    run("create", "--file", path)
    run("rotate", "--file", path)
    run("create", "--file", other, "--algorithm", "RS256")

    result = run("jwks", "--file", path, "--trusted", other)

    published = json.loads(result.output)["keys"]
    assert {key["kid"] for key in published} == {key["kid"] for key in listed(path) + listed(other)}
    assert not {"d", "p", "q", "dp", "dq", "qi"}.intersection(name for key in published for name in key)


@pytest.mark.parametrize(
    "arguments",
    [
        ("create",),
        ("create", "--file", "k.json", "--algorithm", "HS512"),
        ("rotate", "--file", "k.json", "--overlap", "-1"),
        ("retire", "--file", "k.json"),
    ],
)
def test_a_wrong_call_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)

    assert result.exit_code == 2


@pytest.mark.parametrize("command", ["list", "rotate", "jwks"])
def test_a_missing_file_names_the_command_that_makes_one(path: Path, command: str) -> None:
    result = run(command, "--file", path)

    assert isinstance(result.exception, KeyFileError)
    assert "keys create" in str(result.exception)
    assert list(path.parent.iterdir()) == []

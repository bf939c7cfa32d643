"""`compat-auth tokens`, as an operator runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from compat_auth.errors import InvalidValue, NameTaken, NoSuchToken, NoSuchUser
from compat_auth.password_file import add_user
from compat_auth.token_format import PATTERN, parse_text

HASH = "$2b$04$" + "a" * 53


@pytest.fixture
def config(tmp_path: Path) -> str:
    add_user(tmp_path / "users", "alice", HASH)
    path = tmp_path / "compat_auth.toml"
    path.write_text(
        f"""
        auth_backends = ["personal_token"]
        database_url = "sqlite:///{tmp_path / "store.db"}"
        [upstream]
        profile = "generic"
        [basic_auth]
        directories = ["htpasswd"]
        [htpasswd]
        file = "{tmp_path / "users"}"
        """,
        encoding="utf-8",
    )
    return str(path)


def run(config: str, *arguments: str) -> Result:
    return CliRunner().invoke(commands, ["tokens", *arguments, "--config", config], catch_exceptions=False)


def create(config: str, name: str = "etl", *more: str) -> str:
    return run(config, "create", "--user", "alice", "--name", name, *more).stdout.strip()


def test_create_prints_the_token_alone(config: str) -> None:
    result = run(config, "create", "--user", "alice", "--name", "etl", "--days", "30", "--scope", "read")

    assert result.exit_code == 0
    assert re.fullmatch(PATTERN + "\n", result.stdout)
    assert result.stderr == ""


def test_list_tells_all_but_the_secret(config: str) -> None:
    text = create(config, "etl", "--scope", "read", "--scope", "POST /api/v2/x")

    result = run(config, "list", "--json")
    (found,) = json.loads(result.stdout)

    parsed = parse_text(text)
    assert parsed is not None
    assert (found["id"], found["username"], found["name"]) == (parsed.id, "alice", "etl")
    assert found["scopes"] == ["read", "POST /api/v2/x"]
    assert text[20:52] not in result.stdout
    assert f"{parsed.id}  alice  etl  until " in run(config, "list", "--user", "alice").stdout
    assert run(config, "list", "--user", "bob").stdout == ""


def test_refresh_prints_another_token_of_the_same_id(config: str) -> None:
    text = create(config)

    again = run(config, "refresh", text[8:20], "--days", "10", "--overlap", "60").stdout.strip()

    assert parse_text(again) is not None
    assert again[:20] == text[:20]
    assert again != text


def test_revoke_takes_a_token_out_for_good(config: str) -> None:
    text = create(config)

    result = run(config, "revoke", text[8:20])

    assert result.exit_code == 0
    assert run(config, "list", "--json").stdout.strip() == "[]"
    with pytest.raises(NoSuchToken):
        run(config, "revoke", text[8:20])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--user", "nobody", "--name", "etl"), NoSuchUser),
        (("--user", "alice", "--name", ""), InvalidValue),
        (("--user", "alice", "--name", "etl", "--days", "0"), InvalidValue),
        (("--user", "alice", "--name", "etl", "--scope", "reed"), InvalidValue),
        (("--user", "alice", "--name", "taken"), NameTaken),
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(
    config: str, arguments: tuple[str, ...], error: type[Exception]
) -> None:
    create(config, "taken")

    with pytest.raises(error):
        run(config, "create", *arguments)


def test_a_wrong_value_is_wrong_usage() -> None:
    assert {error.exit_code for error in (InvalidValue, NameTaken, NoSuchToken)} == {2}

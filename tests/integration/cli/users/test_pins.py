"""`compat-auth users pins` and `unpin`, as an operator runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from compat_auth.errors import NoSuchUser
from compat_auth.store.migration import open_store
from compat_auth.store.tables.pinned_subjects import PinnedSubjects

ISSUER = "https://login.example.com"


@pytest.fixture
def config(tmp_path: Path) -> str:
    path, url = tmp_path / "compat_auth.toml", f"sqlite:///{tmp_path / 'store.db'}"
    path.write_text(f'database_url = "{url}"\n', encoding="utf-8")
    database = open_store(url)
    pins = PinnedSubjects(database)
    pins.pin("https://accounts.google.com", "1001", "zoë", now=0)
    pins.pin(ISSUER, "sub-zoë", "zoë", now=86400)
    pins.pin(ISSUER, "sub-bob", "bob", now=86400)
    database.close()
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["users", *arguments], catch_exceptions=False)


def test_pins_lists_who_is_held_to_which_account(config: str) -> None:
    result = run("pins", "--config", config)

    assert result.output.splitlines() == [
        f"bob\t{ISSUER}\tsub-bob\t1970-01-02 00:00Z",
        "zoë\thttps://accounts.google.com\t1001\t1970-01-01 00:00Z",
        f"zoë\t{ISSUER}\tsub-zoë\t1970-01-02 00:00Z",
    ]


def test_pins_of_one_user_as_json(config: str) -> None:
    result = run("pins", "--config", config, "--user", "bob", "--json")

    assert json.loads(result.output) == [
        {"issuer": ISSUER, "subject": "sub-bob", "username": "bob", "pinned": 86400},
    ]


def test_unpin_takes_every_account_of_the_user_and_of_nobody_else(config: str) -> None:
    result = run("unpin", "--config", config, "zoë")

    assert result.stdout == "zoë: 2 account(s) unpinned\n"
    assert [line.split("\t")[0] for line in run("pins", "--config", config).output.splitlines()] == ["bob"]


def test_unpin_of_one_issuer_leaves_the_others(config: str) -> None:
    result = run("unpin", "--config", config, "--issuer", ISSUER, "zoë")

    left = json.loads(run("pins", "--config", config, "--user", "zoë", "--json").output)
    assert result.stdout == "zoë: 1 account(s) unpinned\n"
    assert [pin["subject"] for pin in left] == ["1001"]


@pytest.mark.parametrize("arguments", [["Zoë"], ["--issuer", "https://other.example", "zoë"]])
def test_unpin_of_nothing_says_so(config: str, arguments: list[str]) -> None:
    with pytest.raises(NoSuchUser, match="linked to no account"):
        run("unpin", "--config", config, *arguments)

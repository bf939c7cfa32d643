"""`compat-auth db`, as an operator runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from compat_auth.cli import commands
from compat_auth.errors import ConfigError


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "compat_auth.toml"
    path.write_text(f'database_url = "sqlite:///{tmp_path / "store.db"}"\n', encoding="utf-8")
    return str(path)


def test_upgrade_creates_the_tables_and_check_finds_them(config: str) -> None:
    upgraded = CliRunner().invoke(commands, ["db", "upgrade", "--config", config], catch_exceptions=False)
    again = CliRunner().invoke(commands, ["db", "upgrade", "--config", config], catch_exceptions=False)
    checked = CliRunner().invoke(commands, ["db", "check", "--config", config], catch_exceptions=False)

    assert "now up to date" in upgraded.output
    assert "as before" in again.output
    assert "up to date" in checked.output
    assert (upgraded.exit_code, again.exit_code, checked.exit_code) == (0, 0, 0)


def test_check_says_what_to_run_when_there_are_no_tables(config: str) -> None:
    with pytest.raises(ConfigError, match="run: compat-auth db upgrade"):
        CliRunner().invoke(commands, ["db", "check", "--config", config], catch_exceptions=False)

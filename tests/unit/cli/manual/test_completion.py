"""The scripts with which shells complete commands and options."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from compat_auth.cli import commands

SHELLS = ("bash", "zsh", "fish")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_asks_the_program_itself(shell: str) -> None:
    result = CliRunner().invoke(commands, ["completion", shell])

    assert result.exit_code == 0
    assert f"_COMPAT_AUTH_COMPLETE={shell}_complete" in result.output


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_for_the_name_of_the_command(shell: str) -> None:
    result = CliRunner().invoke(commands, ["completion", shell], prog_name="something-else")

    assert "_compat_auth_completion" in result.output
    assert "something" not in result.output


def test_another_shell_is_a_usage_error_that_names_the_known_ones() -> None:
    result = CliRunner().invoke(commands, ["completion", "tcsh"])

    assert result.exit_code == 2
    assert all(shell in result.output for shell in SHELLS)

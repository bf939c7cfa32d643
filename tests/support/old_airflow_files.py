"""Runs `compat-auth import` on the files of an Airflow 2 in the current folder, and reads what it has written."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from compat_auth.cli import commands


def run_import(files: dict[str, str], *options: str, beside: dict[str, str] | None = None) -> Result:
    """Write the files, and import them.

    Args:
        files: By name; all are named on the command line.
        options: Of the command.
        beside: Files that are there and are not named.
    """
    for name, text in {**files, **(beside or {})}.items():
        Path(name).write_text(text, encoding="utf-8")
    return CliRunner().invoke(commands, ["import", *files, *options])


def imported_content() -> dict[str, Any]:
    """Return the configuration that was written."""
    return tomllib.loads(Path("compat_auth.toml").read_text(encoding="utf-8"))

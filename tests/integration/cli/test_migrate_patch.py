"""What `compat-auth migrate` prints is a patch that other tools apply."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from compat_auth.cli import commands


@pytest.mark.parametrize("end", ["\n", "", "\r\n"])
def test_git_applies_the_patch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("script").write_bytes(f"first\nGET $H/api/v1/dags{end}".encode())

    patch = CliRunner().invoke(commands, ["migrate", "script"]).stdout_bytes
    subprocess.run(["git", "apply", "-p0"], input=patch, check=True, capture_output=True)

    assert Path("script").read_bytes() == f"first\nGET $H/api/v2/dags{end}".encode()

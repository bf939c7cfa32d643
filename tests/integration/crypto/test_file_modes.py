"""Files that others may change are not believed, wherever they are named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.security.gateway import write_config


@pytest.mark.parametrize("name", ["compat_auth.toml", "htpasswd"])
@pytest.mark.parametrize("command", ["serve", "check"])
def test_no_command_runs_with_a_file_that_others_may_write(tmp_path: Path, command: str, name: str) -> None:
    config = write_config(tmp_path, "http://127.0.0.1:1")
    (tmp_path / name).chmod(0o646)

    result = subprocess.run(
        [str(Path(sys.executable).with_name("compat-auth")), command, "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.returncode == 78
    assert f"chmod go-w {tmp_path / name}" in (result.stdout if command == "check" else result.stderr)

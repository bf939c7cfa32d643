"""Commands under test leave no entries in the log of the machine that tests them."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat_auth.cli import operator_log


@pytest.fixture(autouse=True)
def no_system_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_log, "SYSTEM_LOG", str(tmp_path / "no system log"))

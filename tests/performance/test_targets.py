"""Every target is measured, and every answer on the way is right. How fast it is, is for a quiet machine to say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")
TARGETS = frozenset(
    (
        *("P1", "P2", "P3", "P4", "P5", "P6", "P9", "P10a", "P10b", "P11", "P12", "P13a", "P13b"),
        *("P14a", "P14b", "P15a", "P15b", "P16a", "P16b", "P16c", "P17a", "P17b", "P18"),
        *("N1", "N2", "N5"),
    )
)


@pytest.mark.performance
@pytest.mark.peer
def test_every_target_is_measured_with_right_answers_only(tmp_path: Path) -> None:
    command = [sys.executable, str(RUN), "--quick", "--json", str(tmp_path / "rows.json")]

    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)

    assert finished.returncode == 0, finished.stdout + finished.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {row["id"] for row in rows} == TARGETS
    assert sum(row["wrong"] for row in rows) == 0

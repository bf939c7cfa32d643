"""The documentation's own backend passes the suite that the documentation shows."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


def test_the_suite_in_the_documentation_passes_as_it_is_shown() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(EXAMPLES),
        "-c",
        "/dev/null",
    ]

    done = subprocess.run([*command, "test_team_key.py"], cwd=EXAMPLES, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout

"""What works with each Airflow 3: asks all of them, and prints the table that docs/how-to/upgrade-airflow.md has.

    .venv/bin/python tests/support/peers/matrix.py [--write] [VERSION …]

A version is the name of a file in requirements/, such as `airflow31`; without one all are asked, which takes an hour.
`airflow-next` is the newest pre-release of the day. The exit status is 1 when a test failed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

HERE: Final = Path(__file__).parent
PEERS: Final = HERE.parents[1] / "peers"
PAGE: Final = HERE.parents[2] / "docs" / "how-to" / "upgrade-airflow.md"
# Airflow 3.0 needs SQLAlchemy below 2.0, and cannot be installed beside us.
WITHOUT_PLUGIN: Final = ("airflow30",)
VERSIONS: Final = ("airflow30", "airflow31", "airflow32", "airflow3", "airflow34")
PLACES: Final = ("exchange", "shared_secret", "key_pair", "plugin")
FILES: Final = {
    "test_which_airflow": "",
    "test_ten_legacy_modules": "modules of Airflow 2",
    "test_airflow_plugin_tokens": "personal tokens",
    "test_airflow_plugin_workloads": "workloads",
    "test_tasks_call_the_api": "task tokens",
}
KINDS: Final = (
    *(f"{manager}, {place}" for manager in ("fab", "simple") for place in PLACES),
    *(kind for kind in FILES.values() if kind),
)
_BEGIN, _END = "<!-- table -->\n", "<!-- end of table -->"


def kind_of(file: str, test: str) -> str:
    """Return the kind of a test, "" for none that counts."""
    if FILES.get(file):
        return FILES[file]
    parts = test.partition("[")[2].rstrip("]").split("-")
    found = [next((part for part in parts if part in names), "") for names in (("fab", "simple"), PLACES)]
    return ", ".join(found) if all(found) else ""


def counts(report: Path) -> dict[str, str]:
    """Return for each kind how many tests passed of how many, from pytest's report in JUnit's XML."""
    asked: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  # pytest has just written it
        kind = kind_of(case.get("classname", "").rpartition(".")[2], case.get("name", ""))
        asked[kind] += 1
        passed[kind] += not any(case.find(tag) is not None for tag in ("failure", "error"))
    return {kind: f"{passed[kind]}/{asked[kind]}" if asked[kind] else "-" for kind in KINDS}


def table(found: dict[str, dict[str, str]]) -> str:
    """Return the table in Markdown: a line for each kind of test, a kind for each Airflow."""
    lines = [f"| Tests passed | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    lines += [f"| {kind} | {' | '.join(cells[kind] for cells in found.values())} |" for kind in KINDS]
    return "\n".join(lines)


def name_of(version: str) -> str:
    """Return the number of an Airflow, as it is installed."""
    root = Path(os.environ.get("TEST_PEERS") or Path.home() / ".cache" / "compat-auth-peers")
    found = next((root / version).glob("lib/python*/site-packages/apache_airflow-*.dist-info"), None)
    return re.sub(r"apache_airflow-(.+)\.dist-info", r"\1", found.name) if found else version


def ask(version: str, folder: Path) -> Path:
    """Install an Airflow, run the tests on it, and return the report."""
    has_plugin = version not in WITHOUT_PLUGIN
    subprocess.run([HERE / "install", version, *([f"{version}-plugin"] if has_plugin else [])], check=True)
    report, log = folder / f"{version}.xml", folder / f"{version}.log"
    files = [PEERS / f"{name}.py" for name in FILES] if has_plugin else [PEERS / "test_which_airflow.py"]
    command = [sys.executable, "-m", "pytest", "-q", *map(str, files), "--junit-xml", str(report)]
    with log.open("wb") as output:
        subprocess.run(
            [*command, *(() if has_plugin else ("-k", "not plugin"))],
            stdout=output,
            stderr=output,
            env={**os.environ, "TEST_AIRFLOW3": version},
            check=False,
        )
    lines = log.read_text(errors="replace").splitlines()
    if not report.exists():
        sys.exit("\n".join(lines[-40:]))
    sys.stderr.writelines(f"{line}\n" for line in lines if line.startswith(("FAILED", "ERROR")))
    return report


def main() -> int:
    """Ask the Airflows, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(description="What works with each Airflow 3.")
    parser.add_argument("versions", nargs="*", metavar="VERSION", default=VERSIONS)
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    given = parser.parse_args()
    found: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for done, version in enumerate(given.versions):
            print(f"{done} of {len(given.versions)} asked; now {version}", file=sys.stderr)  # noqa: T201  # for a person who waits
            found[name_of(version)] = counts(ask(version, Path(folder)))
    print(table(found))  # noqa: T201  # what was asked for
    if given.write:
        before, rest = PAGE.read_text(encoding="utf-8").split(_BEGIN)
        after = rest.partition(_END)[2]
        PAGE.write_text(f"{before}{_BEGIN}\n{table(found)}\n\n{_END}{after}", encoding="utf-8")
    cells = (cell.split("/") for kinds in found.values() for cell in kinds.values())
    return any(cell[0] != cell[-1] for cell in cells)


if __name__ == "__main__":
    sys.exit(main())

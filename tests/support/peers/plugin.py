"""Live Airflow 3.3 with our wheel installed into its own environment."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from support.peers.airflows import Airflow3
from support.peers.place import environment
from support.peers.process import stop_together
from support.peers.seed import AIRFLOW3, Kind

ROOT: Final = Path(__file__).parents[3]
NOT_SOURCE: Final = shutil.ignore_patterns(".*", "tests", "docs", "build", "dist", "*.egg-info", "__pycache__")
BASIC_AUTH: Final = "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth"

StartPlugged = Callable[..., Airflow3]
"""`plugged_airflow(kind, **env)`: a running Airflow with the plugin in it; one with the same settings is started once."""


@pytest.fixture(scope="session")
def plugged_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has Airflow 3.3 and our wheel."""
    return make_plugged_python(tmp_path_factory.mktemp("plugged"))


def make_plugged_python(folder: Path, below_name: str = f"{AIRFLOW3}-plugin", *, beside: str = "") -> Path:
    """Return a Python that has an Airflow, what our wheel asks for, and our wheel as it is now, installed by pip.

    Args:
        folder: For the wheel and the environment.
        below_name: The peer's environment that has the Airflow.
        beside: Another one whose packages are there, too, such as a provider's; the Airflow is the same.
    """
    # A copy: what setuptools leaves behind would find its way into the next wheel.
    source = shutil.copytree(ROOT, folder / "source", ignore=NOT_SOURCE)
    _run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source])
    below = environment(below_name)
    overlay = folder / "environment"
    _run([below / "bin" / "python", "-m", "venv", "--without-pip", overlay])
    site = next(overlay.glob("lib/python*/site-packages"))
    places = [below, *([environment(beside)] if beside else [])]
    (site / "airflow.pth").write_text("".join(f"{next(place.glob('lib/python*/site-packages'))}\n" for place in places))
    (wheel,) = folder.glob("*.whl")
    python = overlay / "bin" / "python"
    _run([sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel])
    return python


@pytest.fixture(scope="session")
def plugged_airflow(plugged_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartPlugged]:
    """Start as many as the tests like; all are stopped at the end of the run."""
    running: dict[str, Airflow3] = {}

    def start(kind: Kind, **env: str | None) -> Airflow3:
        key = repr((kind.name, sorted(env.items())))
        if key not in running:
            airflow = Airflow3(kind, tmp_path_factory.mktemp("plugged_airflow"), plugged_python)
            running[key] = airflow
            airflow.restart(**env)
        return running[key]

    yield start
    stop_together(airflow.stop for airflow in running.values())


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr}", pytrace=False)

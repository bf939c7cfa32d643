"""Airflow homes, migrated and filled once per machine, then copied: a migration takes a minute, a copy nothing."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from support.peers.place import HERE, environment, peers_folder, requirements
from support.peers.process import run

FAB_MANAGER: Final = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
SIMPLE_MANAGER: Final = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
SIMPLE_USERS: Final = {"admin": "ADMIN", "viewer": "VIEWER", "user": "USER", "op": "OP"}
SIMPLE_PASSWORDS_FILE: Final = "simple_passwords.json"
FERNET_KEY: Final = "ZmDfcTF7_60GrrY167zsiPd67pEvs0aGOv2oasOM1Pg="
SITE: Final = HERE / "python"  # read by every Python of an Airflow
RECIPE: Final = HERE / "recipe"  # copied into a new home: its scripts and the DAGs
RECIPE_V1: Final = (
    HERE / "recipe_v1"
)  # beyond that: DAGs with something for every operation of /api/v1, and runs of them
# Written by Airflow with the template's own paths in it; a copy must write its own.
TIED_TO_ITS_FOLDER: Final = ("airflow.cfg", "logs")


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to set Airflow up: which environment, which auth manager, and the commands that fill a new home."""

    name: str
    environment: str
    auth_manager: str
    commands: tuple[tuple[str, ...], ...]
    recipes: tuple[Path, ...] = (RECIPE,)
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def python(self) -> Path:
        """The interpreter that has this Airflow."""
        return environment(self.environment) / "bin" / "python"


_AIRFLOW: Final = ("-m", "airflow")
_MIGRATE: Final = (*_AIRFLOW, "db", "migrate")
_READ_DAGS: Final = (*_AIRFLOW, "dags", "reserialize")
_USERS: Final = ("users.py",)
_RUNS: Final = ("runs.py",)

# By hand, another minor: `TEST_AIRFLOW3=airflow31`.
AIRFLOW3: Final = os.environ.get("TEST_AIRFLOW3", "airflow3")
FAB: Final = Kind("fab", AIRFLOW3, FAB_MANAGER, (_MIGRATE, (*_AIRFLOW, "sync-perm"), _USERS, _READ_DAGS))
SIMPLE: Final = Kind("simple", AIRFLOW3, SIMPLE_MANAGER, (_MIGRATE, _READ_DAGS))
AIRFLOW2: Final = Kind("airflow2", "airflow2", FAB_MANAGER, (_MIGRATE, (*_AIRFLOW, "sync-perm"), _USERS, _READ_DAGS))
_WITH_RUNS: Final = (RECIPE, RECIPE_V1)
# What 2.11 had by default, as the instructions for an upgrade say.
_AS_IN_2: Final = (
    ("AIRFLOW__SCHEDULER__CREATE_CRON_DATA_INTERVALS", "True"),
    ("AIRFLOW__SCHEDULER__CREATE_DELTA_DATA_INTERVALS", "True"),
    ("AIRFLOW__API__EXPOSE_CONFIG", "True"),
)
FAB_V1: Final = Kind("fab_v1", FAB.environment, FAB_MANAGER, (*FAB.commands, _RUNS), _WITH_RUNS, _AS_IN_2)
AIRFLOW2_V1: Final = Kind("airflow2_v1", AIRFLOW2.environment, FAB_MANAGER, (*AIRFLOW2.commands, _RUNS), _WITH_RUNS)


def base_env(kind: Kind, home: Path) -> dict[str, str]:
    """Return the environment that every command and server of a home shares."""
    env = {
        "PATH": f"{kind.python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(SITE),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__AUTH_MANAGER": kind.auth_manager,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
        "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor" if kind.environment == "airflow2" else "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": FERNET_KEY,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    env.update(kind.settings)
    if kind is SIMPLE:
        users = ",".join(f"{name}:{role}" for name, role in SIMPLE_USERS.items())
        env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] = users
        env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"] = str(home / SIMPLE_PASSWORDS_FILE)
    return env


def seeded_template(kind: Kind) -> Path:
    """Return a folder to copy an Airflow home from; makes it when this machine has none for the present recipe."""
    python = str(kind.python)
    seeds = peers_folder() / "seeds"
    seeds.mkdir(exist_ok=True)
    template = seeds / f"{kind.name}-{_recipe_digest(kind)}"
    with _one_at_a_time(seeds / f"{kind.name}.lock"):
        if template.is_dir():
            return template
        draft = Path(tempfile.mkdtemp(prefix=f".{kind.name}-", dir=seeds))
        try:
            for recipe in kind.recipes:
                shutil.copytree(recipe, draft, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
            (draft / SIMPLE_PASSWORDS_FILE).write_text(json.dumps({name: name for name in SIMPLE_USERS}))
            for arguments in kind.commands:
                run([python, *arguments], env=base_env(kind, draft), folder=draft, log=seeds / f"{kind.name}.log")
            for name in TIED_TO_ITS_FOLDER:
                _remove(draft / name)
            draft.rename(template)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return template


def _recipe_digest(kind: Kind) -> str:
    # Not where the checkout lies: the next clone copies what this one has filled.
    digest = hashlib.sha256(repr(replace(kind, recipes=())).encode())
    files = sorted(path for recipe in kind.recipes for path in recipe.rglob("*.py"))
    for part in (requirements(kind.environment), *files, Path(__file__)):
        digest.update(part.read_bytes())
    return digest.hexdigest()[:16]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _one_at_a_time(lock: Path) -> Generator[None]:
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield

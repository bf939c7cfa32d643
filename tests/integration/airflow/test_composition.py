"""What the configuration of an Airflow becomes, and that a mistake in it opens nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
from flask import Flask

from support.airflow_stand_ins import activate


class FabAuthManager:
    """Known by its name."""

    def __init__(self) -> None:
        self.flask_app = Flask("fab")


@pytest.fixture
def fab(monkeypatch: pytest.MonkeyPatch) -> FabAuthManager:
    manager = FabAuthManager()
    activate(monkeypatch, manager)
    monkeypatch.setitem(sys.modules, "airflow.providers.fab.www.extensions.init_session", None)
    return manager


def test_every_process_of_airflow_imports_the_plugin_so_it_imports_next_to_nothing() -> None:
    program = (
        "import sys, types\n"
        "for name, content in (('airflow', {}), ('airflow.configuration', {'conf': __import__('configparser').ConfigParser()}),"
        " ('airflow.plugins_manager', {'AirflowPlugin': object})):\n"
        "    sys.modules[name] = module = types.ModuleType(name)\n"
        "    vars(module).update(content)\n"
        "before = set(sys.modules)\n"
        "import compat_auth.airflow.plugin\n"
        "print(sorted(name for name in set(sys.modules) - before if name.partition('.')[0] not in sys.stdlib_module_names))\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == str(
        [
            "compat_auth",
            "compat_auth.airflow",
            "compat_auth.airflow.activation",
            "compat_auth.airflow.closed_gate",
            "compat_auth.airflow.plugin",
            "compat_auth.airflow2_config",
            "compat_auth.airflow2_config.settings",
        ]
    )

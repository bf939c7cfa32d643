"""DAGs whose tasks write down the token that they get, and run until the test lets them end."""

# pyright: basic, reportMissingImports=false, reportFunctionMemberAccess=false
# Airflow is installed in the peer's environment only.

import json
import os
import time
from pathlib import Path
from typing import Any

from airflow.sdk import Connection, dag, get_current_context, task

HOME = Path(os.environ["AIRFLOW_HOME"])
HOLD_S = 150


def hold(name: str) -> None:
    """Write down what the task is and has, then wait."""
    instance = get_current_context()["ti"]
    file = HOME / "held" / f"{name}-{instance.map_index}-{instance.try_number}.json"
    file.parent.mkdir(exist_ok=True)
    try:
        found = Connection.get("compat_auth")
        content = {"host": found.host, "login": found.login, "password": found.password}
    except Exception as error:  # noqa: BLE001  # the test reads what it says
        content = {"error": f"{type(error).__name__}: {error}"}
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps({"id": str(instance.id), "run_id": instance.run_id, **content}))
    draft.rename(file)
    end = time.monotonic() + HOLD_S
    while time.monotonic() < end and not (HOME / "held" / f"{name}.go").exists():
        time.sleep(0.2)


def make(dag_id: str) -> Any:
    @dag(dag_id=dag_id, schedule=None)  # type: ignore[untyped-decorator]  # as below
    def holding() -> None:
        @task  # type: ignore[untyped-decorator]  # Airflow is not installed where types are checked
        def held(number: int) -> None:
            hold(dag_id)

        held.expand(number=[1, 2])

    return holding()


covered = make("sales.holding")
again = make("sales.again")
foreign = make("salesforce.holding")

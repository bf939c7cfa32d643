"""Run DAGs once on a fixed date, with real tasks: run by a peer's own Python, on Airflow 2 and on Airflow 3."""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# mypy: ignore-errors
# Airflow is installed in the peer's environment only.
import datetime as dt
import inspect

from airflow.models.dag import DAG
from airflow.utils import cli

DATE = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
DAGS = ("plain", "mapped", "failing", "producer")


def run_once(dag_id: str) -> None:
    """Run a DAG; Airflow 3 names a manual run after `run_after`, Airflow 2 after its date."""
    get_dag = cli.get_bagged_dag if hasattr(cli, "get_bagged_dag") else cli.get_dag
    dag = get_dag(None, dag_id)
    if "bundle_names" not in inspect.signature(get_dag).parameters:
        dag.test(execution_date=DATE)
        return
    if not hasattr(dag, "test"):
        dag = DAG.from_sdk_dag(dag)  # noqa: AIR311  # as it was in 3.0
    dag.test(logical_date=DATE, run_after=DATE)


for name in DAGS:
    run_once(name)

"""Run DAGs once on a fixed date, with real tasks: run by a peer's own Python, on Airflow 2 and on Airflow 3."""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# mypy: ignore-errors
# Airflow is installed in the peer's environment only.
import datetime as dt

from airflow.utils import cli

DATE = dt.datetime(2024, 1, 2, tzinfo=dt.timezone.utc)
DAGS = ("plain", "mapped", "failing", "producer")


def run_once(dag_id: str) -> None:
    """Run a DAG; Airflow 3 names a manual run after `run_after`, Airflow 2 after its date."""
    if hasattr(cli, "get_bagged_dag"):
        cli.get_bagged_dag(None, dag_id).test(logical_date=DATE, run_after=DATE)
    else:
        cli.get_dag(None, dag_id).test(execution_date=DATE)


for name in DAGS:
    run_once(name)

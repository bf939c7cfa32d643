"""A DAG whose task starts another DAG through Airflow's API, without a stored secret."""

import httpx
from airflow.sdk import Connection, dag, task


@dag(dag_id="sales.starts_tiny", schedule=None)
def starts_tiny() -> None:
    @task
    def start() -> str:
        airflow = Connection.get("compat_auth")
        answer = httpx.post(
            f"{airflow.host}/api/v2/dags/tiny/dagRuns",
            auth=(airflow.login, airflow.password),
            json={"logical_date": None},
        )
        answer.raise_for_status()
        return answer.json()["dag_run_id"]

    start()


starts_tiny()

"""Trigger a DAG elsewhere and wait for it, with the HTTP operator and sensor of Airflow 2: run by its Python.

Usage: operator_calls.py URL, with the connections `elsewhere` and `wrong` in the environment. Prints a JSON list: name of
the task, and what came of it.
"""

# pyright: basic, reportMissingImports=false
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202, T201  # Airflow has no types, and this is a list that prints
# Airflow 2 is installed in an environment of its own.
import json

from airflow.exceptions import AirflowException
from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor

RUNS = "/api/v1/dags/tiny/dagRuns"
JSON = {"Content-Type": "application/json"}


def post(name, body, *, method="POST", endpoint=RUNS, conn_id="elsewhere"):
    """Return an operator that sends a document and returns the one that it gets."""
    return HttpOperator(
        task_id=name,
        http_conn_id=conn_id,
        endpoint=endpoint,
        method=method,
        data=json.dumps(body),
        headers=JSON,
        response_filter=lambda response: response.json(),
    )


def sensor(name, run_id, state):
    """Return a sensor for a run's state; the run's id stands in the path as it is, as a template puts it there."""
    return HttpSensor(
        task_id=name,
        http_conn_id="elsewhere",
        endpoint=f"{RUNS}/{run_id}",
        response_check=lambda response: response.json()["state"] == state,
    )


def main():
    """Print what came of every task."""
    outcomes = []

    def do(name, function):
        try:
            outcome = function()
        except AirflowException as error:
            # "404:NOT FOUND": who names a status in capitals, and who does not, is the server's own.
            outcome = str(error).upper()
        outcomes.append((name, outcome))
        return outcome

    run = post("trigger", {"conf": {"n": 2, "word": "grüße"}}).execute({})
    run_id = run["dag_run_id"]
    outcomes.append(("trigger", {name: run[name] for name in ("dag_id", "state", "conf", "external_trigger")}))
    outcomes.append(("id", run_id == f"manual__{run['logical_date']}"))
    do("queued", lambda: sensor("queued", run_id, "queued").poke({}))
    do("too early", lambda: sensor("early", run_id, "success").poke({}))
    do("no such run", lambda: sensor("missing", "no-such-run", "success").poke({}))
    do(
        "end it",
        lambda: post("end", {"state": "success"}, method="PATCH", endpoint=f"{RUNS}/{run_id}").execute({})["state"],
    )
    do("ended", lambda: sensor("ended", run_id, "success").poke({}))
    do("the same again", lambda: post("again", {"dag_run_id": run_id}).execute({}))
    do("no such dag", lambda: post("missing", {}, endpoint="/api/v1/dags/no-such/dagRuns").execute({}))
    do("not JSON", lambda: HttpOperator(task_id="n", http_conn_id="elsewhere", endpoint=RUNS, data={}).execute({}))
    do("wrong password", lambda: post("wrong", {}, conn_id="wrong").execute({}))
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()

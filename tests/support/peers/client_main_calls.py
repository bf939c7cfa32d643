"""The calls that most scripts make, by whatever release of Airflow 2's official client this Python has.

Usage: client_main_calls.py URL. Prints a JSON list: name of the call, and what came of it: the type of the answer, or the
type of the error with its HTTP status.
"""

# pyright: basic, reportMissingImports=false
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, T201  # the client has no types, and this is a list that prints
# The client is installed in an environment of its own.
import json
import sys

from airflow_client import client
from airflow_client.client.api import (
    connection_api,
    dag_api,
    dag_run_api,
    monitoring_api,
    pool_api,
    task_instance_api,
    variable_api,
)
from airflow_client.client.model.connection import Connection
from airflow_client.client.model.dag import DAG
from airflow_client.client.model.dag_run import DAGRun
from airflow_client.client.model.pool import Pool
from airflow_client.client.model.variable import Variable

RUN = "from-an-old-client"


def calls(connected):
    """Yield (function, arguments …) of every call, in an order in which the later find what the earlier made."""
    dag, run, task = (
        dag_api.DAGApi(connected),
        dag_run_api.DAGRunApi(connected),
        task_instance_api.TaskInstanceApi(connected),
    )
    variable, pool, connection = (
        variable_api.VariableApi(connected),
        pool_api.PoolApi(connected),
        connection_api.ConnectionApi(connected),
    )
    yield (monitoring_api.MonitoringApi(connected).get_health,)
    yield (dag.get_dags,)
    yield dag.get_dag, "tiny"
    yield dag.patch_dag, "tiny", DAG(is_paused=False)
    yield run.post_dag_run, "tiny", DAGRun(dag_run_id=RUN, conf={"n": 2})
    yield run.post_dag_run, "tiny", DAGRun(dag_run_id=RUN)
    yield run.get_dag_runs, "tiny"
    yield run.get_dag_run, "tiny", RUN
    yield run.get_dag_run, "tiny", "no-such-run"
    yield task.get_task_instances, "tiny", RUN
    yield run.delete_dag_run, "tiny", RUN
    yield variable.post_variables, Variable(key="old", value="1")
    yield (variable.get_variables,)
    yield variable.get_variable, "old"
    yield variable.patch_variable, "old", Variable(key="old", value="2")
    yield variable.delete_variable, "old"
    yield variable.get_variable, "old"
    yield pool.post_pool, Pool(name="old", slots=2)
    yield (pool.get_pools,)
    yield pool.patch_pool, "old", Pool(name="old", slots=3)
    yield pool.delete_pool, "old"
    yield connection.post_connection, Connection(connection_id="old", conn_type="http", host="h", password="hush")
    yield (connection.get_connections,)
    yield connection.get_connection, "old"
    yield connection.patch_connection, "old", Connection(connection_id="old", conn_type="http", host="h2")
    yield connection.delete_connection, "old"


def outcome_of(call):
    """Return what came of a call, made in a thread of the client's own as scripts do that poll."""
    function, *arguments = call
    try:
        return type(function(*arguments, async_req=True).get(60)).__name__
    except client.ApiException as error:
        return f"{type(error).__name__} {error.status}"
    except client.OpenApiException as error:
        return f"{type(error).__name__}: {error}"[:300]


def main(url):
    """Print what came of every call."""
    configuration = client.Configuration(host=f"{url}/api/v1", username="admin", password="admin")
    with client.ApiClient(configuration) as connected:
        print(json.dumps([(call[0].__name__, outcome_of(call)) for call in calls(connected)]))


if __name__ == "__main__":
    main(sys.argv[1])

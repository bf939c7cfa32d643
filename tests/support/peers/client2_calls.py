"""Call every endpoint of the official client of Airflow 2: run by the Python that has that client.

Usage: client2_calls.py URL. Prints a JSON list: name of the call, and what came of it: the type of the answer, or the
type of the error with its HTTP status.
"""

# pyright: basic, reportMissingImports=false
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, PLR0915, T201  # the client has no types, and this is a list that prints
# The client is installed in an environment of its own.
import json
import sys
from datetime import UTC, datetime
from typing import Any

from airflow_client import client
from airflow_client.client.api import (
    config_api,
    connection_api,
    dag_api,
    dag_run_api,
    dag_stats_api,
    dag_warning_api,
    dataset_api,
    event_log_api,
    import_error_api,
    monitoring_api,
    permission_api,
    plugin_api,
    pool_api,
    provider_api,
    role_api,
    task_instance_api,
    user_api,
    variable_api,
    x_com_api,
)
from airflow_client.client.model.action import Action
from airflow_client.client.model.action_resource import ActionResource
from airflow_client.client.model.clear_dag_run import ClearDagRun
from airflow_client.client.model.clear_task_instances import ClearTaskInstances
from airflow_client.client.model.connection import Connection
from airflow_client.client.model.create_dataset_event import CreateDatasetEvent
from airflow_client.client.model.dag import DAG
from airflow_client.client.model.dag_run import DAGRun
from airflow_client.client.model.list_dag_runs_form import ListDagRunsForm
from airflow_client.client.model.list_task_instance_form import ListTaskInstanceForm
from airflow_client.client.model.pool import Pool
from airflow_client.client.model.resource import Resource
from airflow_client.client.model.role import Role
from airflow_client.client.model.set_dag_run_note import SetDagRunNote
from airflow_client.client.model.set_task_instance_note import SetTaskInstanceNote
from airflow_client.client.model.update_dag_run_state import UpdateDagRunState
from airflow_client.client.model.update_task_instance import UpdateTaskInstance
from airflow_client.client.model.update_task_instances_state import UpdateTaskInstancesState
from airflow_client.client.model.update_task_state import UpdateTaskState
from airflow_client.client.model.user import User
from airflow_client.client.model.user_collection_item_roles import UserCollectionItemRoles
from airflow_client.client.model.variable import Variable

RUN = "manual__2024-01-02T00:00:00+00:00"
ORDERS = "s3://bucket/orders/2024?x=1"
DATE = datetime(2025, 1, 1, tzinfo=UTC)


def calls(connected):
    """Yield (name, function, arguments) of every endpoint, in an order in which the later find what the earlier made."""
    config, connection, dag = (
        config_api.ConfigApi(connected),
        connection_api.ConnectionApi(connected),
        dag_api.DAGApi(connected),
    )
    run, dataset, log = (
        dag_run_api.DAGRunApi(connected),
        dataset_api.DatasetApi(connected),
        event_log_api.EventLogApi(connected),
    )
    error, pool, role = (
        import_error_api.ImportErrorApi(connected),
        pool_api.PoolApi(connected),
        role_api.RoleApi(connected),
    )
    task, user, variable = (
        task_instance_api.TaskInstanceApi(connected),
        user_api.UserApi(connected),
        variable_api.VariableApi(connected),
    )
    xcom, monitoring = x_com_api.XComApi(connected), monitoring_api.MonitoringApi(connected)
    yield (monitoring.get_health,)
    yield (monitoring.get_version,)
    yield (config.get_config,)
    yield config.get_value, "core", "parallelism"
    yield (provider_api.ProviderApi(connected).get_providers,)
    yield (plugin_api.PluginApi(connected).get_plugins,)
    yield connection.post_connection, Connection(connection_id="cc", conn_type="http", host="h", password="hush")
    yield (connection.get_connections,)
    yield connection.get_connection, "cc"
    yield connection.patch_connection, "cc", Connection(connection_id="cc", conn_type="http", host="h2")
    yield connection.test_connection, Connection(connection_id="cc", conn_type="http", host="h")
    yield connection.delete_connection, "cc"
    yield (dag.get_dags,)
    yield dag.get_dag, "plain"
    yield dag.get_dag_details, "plain"
    yield dag.get_tasks, "plain"
    yield dag.get_task, "plain", "number"
    yield dag.patch_dag, "consumer", DAG(is_paused=False)
    yield dag.patch_dags, "tiny", DAG(is_paused=True)
    token = dag.get_dag("plain").file_token
    yield dag.get_dag_source, token
    yield dag.reparse_dag_file, token
    yield dag_stats_api.DagStatsApi(connected).get_dag_stats, "plain"
    yield (dag_warning_api.DagWarningApi(connected).get_dag_warnings,)
    yield run.post_dag_run, "plain", DAGRun(dag_run_id="cr", logical_date=DATE, conf={"n": 2})
    yield run.post_dag_run, "plain", DAGRun(dag_run_id="bare-of-date")
    yield run.get_dag_runs, "plain"
    yield run.get_dag_runs, "~"
    yield run.get_dag_run, "plain", "cr"
    yield run.get_dag_runs_batch, ListDagRunsForm(dag_ids=["plain"])
    yield run.set_dag_run_note, "plain", "cr", SetDagRunNote(note="n")
    yield run.update_dag_run_state, "plain", "cr", UpdateDagRunState(state="success")
    yield run.clear_dag_run, "plain", "cr", ClearDagRun(dry_run=True)
    yield run.clear_dag_run, "plain", "cr", ClearDagRun(dry_run=False)
    yield run.get_upstream_dataset_events, "plain", "cr"
    yield dataset.get_upstream_dataset_events, "plain", "cr"
    yield task.get_task_instances, "plain", RUN
    yield task.get_task_instances, "plain", "cr"
    yield task.get_task_instances_batch, ListTaskInstanceForm(dag_ids=["plain"])
    yield task.get_task_instance, "plain", RUN, "number"
    yield task.get_mapped_task_instances, "mapped", RUN, "double"
    yield task.get_mapped_task_instance, "mapped", RUN, "double", 1
    yield task.get_task_instance_dependencies, "plain", RUN, "number"
    yield task.get_mapped_task_instance_dependencies, "mapped", RUN, "double", 1
    yield task.get_task_instance_tries, "plain", RUN, "number"
    yield task.get_task_instance_try_details, "plain", RUN, "number", 1
    yield task.get_mapped_task_instance_tries, "mapped", RUN, "double", 1
    yield task.get_mapped_task_instance_try_details, "mapped", RUN, "double", 1, 1
    yield task.get_extra_links, "plain", RUN, "number"
    yield task.get_log, "plain", RUN, "number", 1
    yield task.set_task_instance_note, "plain", RUN, "number", SetTaskInstanceNote(note="n")
    yield task.set_mapped_task_instance_note, "mapped", RUN, "double", 1, SetTaskInstanceNote(note="n")
    yield (
        task.patch_task_instance,
        "plain",
        RUN,
        "end",
        UpdateTaskInstance(dry_run=True, new_state=UpdateTaskState("failed")),
    )
    yield (
        task.patch_task_instance,
        "plain",
        RUN,
        "end",
        UpdateTaskInstance(dry_run=False, new_state=UpdateTaskState("failed")),
    )
    failed = {"update_task_instance": UpdateTaskInstance(dry_run=False, new_state=UpdateTaskState("failed"))}
    yield task.patch_mapped_task_instance, "mapped", RUN, "double", 1, failed
    yield xcom.get_xcom_entries, "plain", RUN, "words"
    yield xcom.get_xcom_entry, "plain", RUN, "words", "return_value"
    for dry_run in (True, False):
        state = UpdateTaskInstancesState(
            dry_run=dry_run,
            task_id="number",
            dag_run_id=RUN,
            new_state=UpdateTaskState("failed"),
            include_upstream=False,
            include_downstream=True,
            include_future=False,
            include_past=False,
        )
        yield dag.post_set_task_instances_state, "plain", state
        cleared = ClearTaskInstances(dry_run=dry_run, dag_run_id=RUN, only_failed=True, reset_dag_runs=False)
        yield dag.post_clear_task_instances, "plain", cleared
    yield (dataset.get_datasets,)
    yield dataset.get_dataset, ORDERS
    yield (dataset.get_dataset_events,)
    yield dataset.create_dataset_event, CreateDatasetEvent(dataset_uri=ORDERS, extra={"k": "v"})
    yield dataset.get_dag_dataset_queued_events, "consumer"
    yield dataset.get_dag_dataset_queued_event, "consumer", ORDERS
    yield dataset.get_dataset_queued_events, ORDERS
    yield dataset.delete_dag_dataset_queued_event, "consumer", ORDERS
    yield dataset.create_dataset_event, CreateDatasetEvent(dataset_uri=ORDERS)
    yield dataset.delete_dataset_queued_events, ORDERS
    yield dataset.create_dataset_event, CreateDatasetEvent(dataset_uri=ORDERS)
    yield dataset.delete_dag_dataset_queued_events, "consumer"
    yield pool.post_pool, Pool(name="cp", slots=2)
    yield (pool.get_pools,)
    yield pool.get_pool, "cp"
    yield pool.patch_pool, "cp", Pool(name="cp", slots=3)
    yield pool.delete_pool, "cp"
    yield variable.post_variables, Variable(key="cv", value="1", description="d")
    yield (variable.get_variables,)
    yield variable.get_variable, "cv"
    yield variable.patch_variable, "cv", Variable(key="cv", value="2")
    yield variable.delete_variable, "cv"
    yield (log.get_event_logs,)
    yield log.get_event_log, log.get_event_logs(limit=1).event_logs[0].event_log_id
    yield (error.get_import_errors,)
    yield error.get_import_error, error.get_import_errors().import_errors[0].import_error_id
    yield (permission_api.PermissionApi(connected).get_permissions,)
    reads = [ActionResource(action=Action(name="can_read"), resource=Resource(name="Pools"))]
    yield role.post_role, Role(name="cr1", actions=reads)
    yield (role.get_roles,)
    yield role.get_role, "cr1"
    yield role.patch_role, "cr1", Role(name="cr2", actions=reads)
    yield role.delete_role, "cr2"
    made = User(
        username="cu",
        email="cu@example.com",
        first_name="C",
        last_name="U",
        password="pw",
        roles=[UserCollectionItemRoles(name="Viewer")],
    )
    yield user.post_user, made
    yield (user.get_users,)
    yield user.get_user, "cu"
    yield user.patch_user, "cu", User(username="cu", email="cu@example.com", first_name="D", last_name="U")
    yield user.delete_user, "cu"
    yield run.delete_dag_run, "plain", "cr"
    yield dag.delete_dag, "every_other_day"


def main(url):
    """Print what came of every call."""
    configuration = client.Configuration(host=f"{url}/api/v1", username="admin", password="admin")
    outcomes = []
    with client.ApiClient(configuration) as connected:
        for function, *arguments in calls(connected):
            options: Any = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
            try:
                outcome = type(function(*arguments, **options, _check_return_type=True)).__name__
            except client.ApiException as error:
                outcome = f"{type(error).__name__} {error.status}"
            except client.OpenApiException as error:
                outcome = f"{type(error).__name__}: {error}"[:300]
            outcomes.append((function.__qualname__, outcome))
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1])

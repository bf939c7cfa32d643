"""All operations of `/api/v1`. No I/O."""

from __future__ import annotations

from compat_auth.airflow.v1.resources import (
    connections,
    dag_runs,
    dags,
    datasets,
    fab,
    logs,
    pools,
    system,
    task_instances,
    task_states,
    variables,
    xcoms,
)
from compat_auth.airflow.v1.router import Router

OPERATIONS = (
    *dags.OPERATIONS,
    *dag_runs.OPERATIONS,
    *task_instances.OPERATIONS,
    *task_states.OPERATIONS,
    *logs.OPERATIONS,
    *xcoms.OPERATIONS,
    *datasets.OPERATIONS,
    *variables.OPERATIONS,
    *connections.OPERATIONS,
    *pools.OPERATIONS,
    *system.OPERATIONS,
    *fab.OPERATIONS,
)
ROUTER = Router(OPERATIONS)

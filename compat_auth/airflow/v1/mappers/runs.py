"""DAG runs and their parts: task instances, tries, triggers, jobs and XComs. No I/O."""

from __future__ import annotations

from compat_auth.airflow.v1.mappers.dates import old_date
from compat_auth.airflow.v1.mappers.mapper import Derive, Mapper, maybe, object_or_empty, text_or_empty
from compat_auth.airflow.v1.messages import Json

# 3.0: asset_triggered; 3.2: asset_materialization; 3.3: operator_triggered. Strict clients accept only these.
RUN_TYPES = {
    "backfill": "backfill",
    "manual": "manual",
    "scheduled": "scheduled",
    "dataset_triggered": "dataset_triggered",
    "asset_triggered": "dataset_triggered",
}
_EXTERNAL = frozenset(("manual", "operator_triggered", "asset_materialization"))
RUN_STATES = frozenset(("queued", "running", "success", "failed"))
TASK_STATES = frozenset(
    [
        "success",
        "running",
        "failed",
        "upstream_failed",
        "skipped",
        "up_for_retry",
        "up_for_reschedule",
        "queued",
        "scheduled",
        "deferred",
        "removed",
        "restarting",
    ]
)


def run_type(run: Json) -> str:
    """Return the type of a run; a type that 2.x does not know counts as manual."""
    return RUN_TYPES.get(run.get("run_type") or "", "manual")


def _external_trigger(run: Json) -> bool:
    # Nobody has triggered a run of `airflow dags test`.
    if run.get("triggered_by") == "test":
        return False
    return run.get("run_type") not in RUN_TYPES or run.get("run_type") in _EXTERNAL


def run_state(run: Json) -> str | None:
    """Return the state of a run; a state that 2.x does not know means that the run has not ended."""
    state = run.get("state")
    return state if state is None or state in RUN_STATES else "running"


def task_state(instance: Json) -> str | None:
    """Return the state of a task instance; a state that 2.x does not know means that it waits."""
    state = instance.get("state")
    return state if state is None or state in TASK_STATES else "deferred"


def execution_date(found: Json) -> str | None:
    """Return the execution date: strict clients reject null, and runs of 3.x may have no logical date."""
    return old_date(found.get("logical_date") or found.get("run_after") or found.get("timestamp"))


DAG_RUN = Mapper(
    name="DAGRun",
    same=("dag_run_id", "dag_id", "note"),
    dates=("start_date", "end_date", "data_interval_start", "data_interval_end", "last_scheduling_decision"),
    derived={
        "logical_date": execution_date,
        "execution_date": execution_date,
        "run_type": run_type,
        "state": run_state,
        "external_trigger": _external_trigger,
        "conf": object_or_empty("conf"),
    },
    dropped=frozenset(
        [
            "queued_at",
            "duration",
            "triggering_user_name",
            "dag_versions",
            "bundle_version",
            "dag_display_name",
            "partition_key",
            "partition_date",
        ]
    ),
    used=frozenset(("logical_date", "run_after", "run_type", "state", "conf", "triggered_by")),
)

_TRY_SAME = [
    "task_id",
    "dag_id",
    "dag_run_id",
    "map_index",
    "duration",
    "try_number",
    "max_tries",
    "task_display_name",
    "pool",
    "pool_slots",
    "queue",
    "priority_weight",
    "operator",
    "pid",
    "executor",
    "executor_config",
]
_TRY_DERIVED: dict[str, Derive] = {
    "state": task_state,
    "hostname": text_or_empty("hostname"),
    "unixname": text_or_empty("unixname"),
}
_TRY_DROPPED = frozenset(("dag_display_name", "operator_name", "scheduled_when", "dag_version"))
_TRY_USED = frozenset(("state", "hostname", "unixname"))

TRY = Mapper(
    name="TaskInstanceHistory",
    same=tuple(_TRY_SAME),
    dates=("start_date", "end_date", "queued_when"),
    derived=_TRY_DERIVED,
    dropped=_TRY_DROPPED,
    used=_TRY_USED,
)

TRIGGER = Mapper(
    name="Trigger",
    same=("id", "classpath", "kwargs", "triggerer_id"),
    dates=("created_date",),
    dropped=frozenset(("queue",)),
)
JOB = Mapper(
    name="Job",
    same=("id", "dag_id", "state", "job_type", "executor_class", "hostname", "unixname"),
    dates=("start_date", "end_date", "latest_heartbeat"),
    dropped=frozenset(("dag_display_name",)),
)


def _rendered_map_index(instance: Json) -> str | None:
    # 3.x fills in the bare number where 2.x has null.
    rendered = instance.get("rendered_map_index")
    return None if rendered == str(instance.get("map_index")) else rendered


TASK_INSTANCE = Mapper(
    name="TaskInstance",
    same=(*_TRY_SAME, "note"),
    dates=("start_date", "end_date", "queued_when"),
    constant={"sla_miss": None},
    derived={
        **_TRY_DERIVED,
        "execution_date": execution_date,
        "rendered_map_index": _rendered_map_index,
        "rendered_fields": object_or_empty("rendered_fields"),
        "trigger": maybe("trigger", TRIGGER),
        "triggerer_job": maybe("triggerer_job", JOB),
    },
    dropped=_TRY_DROPPED | {"id"},
    used=_TRY_USED | {"logical_date", "run_after", "rendered_map_index", "rendered_fields", "trigger", "triggerer_job"},
)

REFERENCE = Mapper(
    name="TaskInstanceReference",
    same=("task_id", "dag_id", "dag_run_id"),
    derived={"execution_date": execution_date},
    dropped=TASK_INSTANCE.known - {"task_id", "dag_id", "dag_run_id", "logical_date", "run_after"},
    used=frozenset(("logical_date", "run_after")),
)

XCOM = Mapper(
    name="XComCollectionItem",
    same=("key", "map_index", "task_id", "dag_id"),
    dates=("timestamp",),
    derived={"execution_date": execution_date},
    dropped=frozenset(("run_id", "dag_display_name", "task_display_name")),
    used=frozenset(("logical_date", "run_after")),
)
XCOM_VALUE = Mapper(
    name="XCom",
    same=(*XCOM.same, "value"),
    dates=XCOM.dates,
    derived=XCOM.derived,
    dropped=XCOM.dropped,
    used=XCOM.used,
)
DEPENDENCIES = Mapper(name="TaskInstanceDependencyCollection", same=("dependencies",))

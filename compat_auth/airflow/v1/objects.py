"""Every object of `/api/v1`, as it is made of one of `/api/v2`. No I/O."""

from __future__ import annotations

import json

from compat_auth.airflow.v1.dates import old_date
from compat_auth.airflow.v1.mapper import Derive, Mapper
from compat_auth.airflow.v1.messages import Json
from compat_auth.airflow.v1.schedule import (
    dag_run_timeout,
    dataset_expression,
    params,
    schedule_interval,
    timetable_description,
)
from compat_auth.airflow.v1.tokens import pack

DAG_FILE = "dag"
# 3.0: asset_triggered; 3.2: asset_materialization; 3.3: operator_triggered. Strict clients know no other than these.
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
    """Return the kind of a run; what 2.x does not know was started by somebody."""
    return RUN_TYPES.get(run.get("run_type") or "", "manual")


def _external_trigger(run: Json) -> bool:
    # What `airflow dags test` runs, nobody has triggered.
    if run.get("triggered_by") == "test":
        return False
    return run.get("run_type") not in RUN_TYPES or run.get("run_type") in _EXTERNAL


def run_state(run: Json) -> str | None:
    """Return the state of a run; one that 2.x does not know has not ended."""
    state = run.get("state")
    return state if state is None or state in RUN_STATES else "running"


def task_state(instance: Json) -> str | None:
    """Return the state of a task instance; one that 2.x does not know waits for something."""
    state = instance.get("state")
    return state if state is None or state in TASK_STATES else "deferred"


def execution_date(found: Json) -> str | None:
    """Return the execution date: strict clients take no null, and later runs may have no logical date."""
    return old_date(found.get("logical_date") or found.get("run_after") or found.get("timestamp"))


def _text(name: str) -> Derive:
    return lambda found: found.get(name) or ""


def _object(name: str) -> Derive:
    return lambda found: found.get(name) or {}


def _tags(dag: Json) -> list[Json]:
    return [{"name": tag["name"]} for tag in dag.get("tags") or ()]


def _each(name: str, mapper: Mapper) -> Derive:
    return lambda found: [mapper(part) for part in found.get(name) or ()]


def _maybe(name: str, mapper: Mapper) -> Derive:
    return lambda found: mapper(found[name]) if found.get(name) is not None else None


_DAG_SAME = [
    "dag_id",
    "dag_display_name",
    "is_paused",
    "fileloc",
    "owners",
    "description",
    "max_active_tasks",
    "max_active_runs",
    "max_consecutive_failed_dag_runs",
    "has_task_concurrency_limits",
    "has_import_errors",
]
_DAG_DROPPED = [
    "bundle_name",
    "bundle_version",
    "relative_fileloc",
    "last_parse_duration",
    "timetable_partitioned",
    "timetable_periodic",
    "allowed_run_types",
    "is_backfillable",
    "file_token",
]
_DAG_DERIVED: dict[str, Derive] = {
    "schedule_interval": schedule_interval,
    "timetable_description": timetable_description,
    "tags": _tags,
    "is_active": lambda dag: not dag.get("is_stale", False),
    "file_token": lambda dag: pack(DAG_FILE, dag["dag_id"]),
}
_DAG_CONSTANT = {
    "root_dag_id": None,
    "is_subdag": False,
    "last_pickled": None,
    "pickle_id": None,
    "scheduler_lock": None,
    "default_view": "grid",
}
_DAG_RENAMED_DATES = {
    "next_dagrun": "next_dagrun_logical_date",
    "next_dagrun_create_after": "next_dagrun_run_after",
}
_DAG_DATES = (
    "last_parsed_time",
    "last_expired",
    "next_dagrun_data_interval_start",
    "next_dagrun_data_interval_end",
)
_DAG_USED = frozenset(("timetable_summary", "timetable_description", "tags", "is_stale"))

DAG = Mapper(
    name="DAG",
    same=tuple(_DAG_SAME),
    dates=_DAG_DATES,
    renamed_dates=_DAG_RENAMED_DATES,
    constant=_DAG_CONSTANT,
    derived=_DAG_DERIVED,
    dropped=frozenset(_DAG_DROPPED),
    used=_DAG_USED,
)

DAG_DETAILS = Mapper(
    name="DAGDetail",
    same=(*_DAG_SAME, "catchup", "doc_md", "is_paused_upon_creation", "render_template_as_native_obj", "timezone"),
    dates=(*_DAG_DATES, "start_date", "end_date", "last_parsed"),
    renamed={"concurrency": "max_active_tasks", "template_searchpath": "template_search_path"},
    renamed_dates=_DAG_RENAMED_DATES,
    constant={**_DAG_CONSTANT, "orientation": "LR"},
    derived={
        **_DAG_DERIVED,
        "dag_run_timeout": dag_run_timeout,
        "dataset_expression": dataset_expression,
        "params": params,
    },
    dropped=frozenset(
        (
            *_DAG_DROPPED,
            *["concurrency", "default_args", "owner_links", "is_favorite", "active_runs_count", "latest_dag_version"],
            "rerun_with_latest_version",
        )
    ),
    used=_DAG_USED | {"dag_run_timeout", "asset_expression", "params"},
)

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
        "conf": _object("conf"),
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
_TRY_DERIVED: dict[str, Derive] = {"state": task_state, "hostname": _text("hostname"), "unixname": _text("unixname")}
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
    # 3.x fills in the bare number where 2.x has nothing.
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
        "rendered_fields": _object("rendered_fields"),
        "trigger": _maybe("trigger", TRIGGER),
        "triggerer_job": _maybe("triggerer_job", JOB),
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

TASK = Mapper(
    name="Task",
    same=(
        "task_id",
        "task_display_name",
        "owner",
        "trigger_rule",
        "depends_on_past",
        "wait_for_downstream",
        "retries",
        "queue",
        "pool",
        "pool_slots",
        "execution_timeout",
        "retry_delay",
        "priority_weight",
        "weight_rule",
        "ui_color",
        "ui_fgcolor",
        "template_fields",
        "downstream_task_ids",
        "doc_md",
        "operator_name",
        "class_ref",
        "is_mapped",
    ),
    dates=("start_date", "end_date"),
    derived={
        # 3.2 made a factor of it.
        "retry_exponential_backoff": lambda task: bool(task.get("retry_exponential_backoff")),
        "params": params,
        # 3.x has names where 2.x has classes: a strict client can read nothing out of a name.
        "extra_links": lambda task: [link for link in task.get("extra_links") or () if not isinstance(link, str)],
    },
    used=frozenset(("retry_exponential_backoff", "params", "extra_links")),
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

CONNECTION_LISTED = Mapper(
    name="ConnectionCollectionItem",
    same=("connection_id", "conn_type", "description", "host", "login", "schema", "port"),
    dropped=frozenset(("password", "extra", "team_name")),
)
CONNECTION = Mapper(
    name="Connection", same=(*CONNECTION_LISTED.same, "extra"), dropped=frozenset(("password", "team_name"))
)


def _variable_value(found: Json) -> str:
    # 3.0.6 and later parse what can be parsed; 2.x has text only.
    value = found.get("value")
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


VARIABLE = Mapper(
    name="Variable",
    same=("key", "description"),
    derived={"value": _variable_value},
    dropped=frozenset(("is_encrypted", "team_name")),
    used=frozenset(("value",)),
)
POOL = Mapper(
    name="Pool",
    same=(
        "name",
        "slots",
        "description",
        "include_deferred",
        "occupied_slots",
        "running_slots",
        "queued_slots",
        "scheduled_slots",
        "open_slots",
        "deferred_slots",
    ),
    dropped=frozenset(("team_name",)),
)

DAG_REFERENCE = Mapper(name="DagScheduleDatasetReference", same=("dag_id",), dates=("created_at", "updated_at"))
TASK_REFERENCE = Mapper(
    name="TaskOutletDatasetReference", same=("dag_id", "task_id"), dates=("created_at", "updated_at")
)
ALIAS = Mapper(name="DatasetAlias", same=("id", "name"), dropped=frozenset(("group",)))
CREATED_RUN = Mapper(
    name="BasicDAGRun",
    same=("dag_id", "state"),
    renamed={"dag_run_id": "run_id"},
    dates=("start_date", "end_date", "data_interval_start", "data_interval_end"),
    derived={"logical_date": lambda run: old_date(run.get("logical_date") or run.get("start_date"))},
    dropped=frozenset(("partition_key", "triggering")),
    used=frozenset(("logical_date",)),
)


def _consuming_dags(asset: Json) -> list[Json]:
    # 3.0 still said consuming_dags.
    found: list[Json] = asset.get("scheduled_dags", asset.get("consuming_dags")) or []
    return [DAG_REFERENCE(reference) for reference in found]


DATASET = Mapper(
    name="Dataset",
    same=("id", "uri"),
    dates=("created_at", "updated_at"),
    derived={
        "extra": _object("extra"),
        "consuming_dags": _consuming_dags,
        "producing_tasks": _each("producing_tasks", TASK_REFERENCE),
        "aliases": _each("aliases", ALIAS),
    },
    dropped=frozenset(("name", "group", "consuming_tasks", "watchers", "last_asset_event")),
    used=frozenset(("extra", "scheduled_dags", "producing_tasks", "aliases")),
)
DATASET_EVENT = Mapper(
    name="DatasetEvent",
    same=("id", "source_task_id", "source_dag_id", "source_run_id", "source_map_index"),
    dates=("timestamp",),
    renamed={"dataset_id": "asset_id", "dataset_uri": "uri"},
    derived={"extra": _object("extra"), "created_dagruns": _each("created_dagruns", CREATED_RUN)},
    dropped=frozenset(("name", "group", "partition_key")),
    used=frozenset(("extra", "created_dagruns")),
)
QUEUED_EVENT = Mapper(
    name="QueuedEvent",
    same=("dag_id", "uri"),
    dates=("created_at",),
    dropped=frozenset(("asset_id", "dag_display_name")),
)

# What 2.11's decorators call these actions.
OLD_EVENTS = {
    "trigger_dag_run": "api.post_dag_run",
    "patch_dag": "api.patch_dag",
    "post_variable": "api.variable.create",
    "patch_variable": "api.variable.edit",
    "delete_variable": "api.variable.delete",
    "post_connection": "api.connection.create",
    "patch_connection": "api.connection.edit",
    "delete_connection": "api.connection.delete",
}
EVENT_LOG = Mapper(
    name="EventLog",
    same=("event_log_id", "dag_id", "task_id", "run_id", "map_index", "try_number", "owner", "extra"),
    dates=("when",),
    renamed_dates={"execution_date": "logical_date"},
    derived={"event": lambda log: OLD_EVENTS.get(log["event"], log["event"])},
    dropped=frozenset(("dag_display_name", "task_display_name")),
    used=frozenset(("event",)),
)
IMPORT_ERROR = Mapper(
    name="ImportError",
    same=("import_error_id", "filename", "stack_trace"),
    dates=("timestamp",),
    dropped=frozenset(("bundle_name",)),
)
DAG_WARNING = Mapper(
    name="DagWarning",
    same=("dag_id", "warning_type", "message"),
    dates=("timestamp",),
    dropped=frozenset(("dag_display_name",)),
)
PROVIDER = Mapper(
    name="Provider", same=("package_name", "description", "version"), dropped=frozenset(("documentation_url",))
)
PLUGIN = Mapper(
    name="PluginCollectionItem",
    same=(
        "name",
        "macros",
        "flask_blueprints",
        "appbuilder_views",
        "appbuilder_menu_items",
        "global_operator_extra_links",
        "operator_extra_links",
        "source",
        "listeners",
        "timetables",
    ),
    constant={"hooks": [], "executors": [], "ti_deps": []},
    dropped=frozenset(("fastapi_apps", "fastapi_root_middlewares", "external_views", "react_apps")),
)
DEPENDENCIES = Mapper(name="TaskInstanceDependencyCollection", same=("dependencies",))
VERSION = Mapper(name="VersionInfo", same=("version", "git_version"))

"""DAGs and their tasks. No I/O."""

from __future__ import annotations

from compat_auth.airflow.v1.mappers.etags import pack
from compat_auth.airflow.v1.mappers.mapper import Derive, Mapper
from compat_auth.airflow.v1.mappers.schedule import (
    dag_run_timeout,
    dataset_expression,
    params,
    schedule_interval,
    timetable_description,
)
from compat_auth.airflow.v1.messages import Json

DAG_FILE = "dag"


def _tags(dag: Json) -> list[Json]:
    return [{"name": tag["name"]} for tag in dag.get("tags") or ()]


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
        # 3.2 changed it to a factor.
        "retry_exponential_backoff": lambda task: bool(task.get("retry_exponential_backoff")),
        "params": params,
        # 3.x has names where 2.x has classes: a strict client cannot use a name.
        "extra_links": lambda task: [link for link in task.get("extra_links") or () if not isinstance(link, str)],
    },
    used=frozenset(("retry_exponential_backoff", "params", "extra_links")),
)
DAG_WARNING = Mapper(
    name="DagWarning",
    same=("dag_id", "warning_type", "message"),
    dates=("timestamp",),
    dropped=frozenset(("dag_display_name",)),
)

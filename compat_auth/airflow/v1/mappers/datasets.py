"""Datasets and their events. No I/O."""

from __future__ import annotations

from compat_auth.airflow.v1.mappers.dates import old_date
from compat_auth.airflow.v1.mappers.mapper import Mapper, each, object_or_empty
from compat_auth.airflow.v1.messages import Json

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
        "extra": object_or_empty("extra"),
        "consuming_dags": _consuming_dags,
        "producing_tasks": each("producing_tasks", TASK_REFERENCE),
        "aliases": each("aliases", ALIAS),
    },
    dropped=frozenset(("name", "group", "consuming_tasks", "watchers", "last_asset_event")),
    used=frozenset(("extra", "scheduled_dags", "producing_tasks", "aliases")),
)
DATASET_EVENT = Mapper(
    name="DatasetEvent",
    same=("id", "source_task_id", "source_dag_id", "source_run_id", "source_map_index"),
    dates=("timestamp",),
    renamed={"dataset_id": "asset_id", "dataset_uri": "uri"},
    derived={"extra": object_or_empty("extra"), "created_dagruns": each("created_dagruns", CREATED_RUN)},
    dropped=frozenset(("name", "group", "partition_key")),
    used=frozenset(("extra", "created_dagruns")),
)
QUEUED_EVENT = Mapper(
    name="QueuedEvent",
    same=("dag_id", "uri"),
    dates=("created_at",),
    dropped=frozenset(("asset_id", "dag_display_name")),
)

"""OpenAPI 3.0 schemas of the answers of `/api/v1`: the mappers list the fields, this module their types.

A field has the same type in every object, with a few exceptions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from compat_auth.airflow.v1.mappers.datasets import ALIAS, CREATED_RUN, DAG_REFERENCE, TASK_REFERENCE
from compat_auth.airflow.v1.mappers.mapper import Mapper
from compat_auth.airflow.v1.mappers.runs import JOB, RUN_STATES, RUN_TYPES, TASK_STATES, TRIGGER
from compat_auth.airflow.v1.messages import JSON, TEXT, Json


def ref(name: str) -> Json:
    """Return a reference to a schema by name."""
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(items: Json) -> Json:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def object_of(**properties: Json) -> Json:
    """Return the schema of an object with some properties."""
    return {"type": "object", "properties": properties}


_STRING: Json = {"type": "string"}
_NUMBER: Json = {"type": "number"}
_INTEGER: Json = {"type": "integer"}
_OBJECT: Json = {"type": "object"}
_FLAG: Json = {"type": "boolean"}
_MAYBE_DATE: Json = {"type": "string", "format": "date-time", "nullable": True}


def _or_null(schema: Json) -> Json:
    return {**schema, "nullable": True}


def _alike(schema: Json, names: str) -> dict[str, Json]:
    return dict.fromkeys(names.split(), schema)


def _one_of(values: Iterable[str]) -> Json:
    return {"type": "string", "enum": sorted(set(values))}


_MAYBE_STRING = _or_null(_STRING)
_SPAN = ref("TimeDelta")
_FIELDS: Mapping[str, Json] = {
    **_alike(
        _STRING,
        "dag_id dag_display_name fileloc file_token task_id task_display_name hostname unixname pool executor_config "
        "classpath kwargs owner trigger_rule weight_rule ui_color ui_fgcolor connection_id conn_type name uri "
        "dataset_uri event filename stack_trace warning_type message package_name version first_name last_name username "
        "email run_id",
    ),
    **_alike(
        _MAYBE_STRING,
        "root_dag_id pickle_id default_view description timetable_description doc_md timezone orientation dag_run_id note "
        "queue operator executor rendered_map_index state job_type executor_class operator_name key value host login "
        "schema extra source_task_id source_dag_id source_run_id source git_version",
    ),
    **_alike(
        _INTEGER,
        "id map_index try_number max_tries slots occupied_slots running_slots queued_slots scheduled_slots open_slots "
        "deferred_slots dataset_id event_log_id import_error_id",
    ),
    **_alike(
        _or_null(_INTEGER),
        "max_active_tasks max_active_runs max_consecutive_failed_dag_runs pool_slots priority_weight pid triggerer_id port "
        "source_map_index login_count fail_login_count",
    ),
    **_alike(_or_null(_NUMBER), "duration concurrency retries"),
    **_alike(
        _FLAG,
        "is_subdag external_trigger depends_on_past wait_for_downstream is_mapped retry_exponential_backoff "
        "include_deferred",
    ),
    **_alike(
        _or_null(_FLAG),
        "is_paused is_active scheduler_lock has_task_concurrency_limits has_import_errors catchup "
        "is_paused_upon_creation render_template_as_native_obj active",
    ),
    **_alike(_OBJECT, "conf rendered_fields params"),
    **_alike(
        list_of(_MAYBE_STRING),
        "macros flask_blueprints global_operator_extra_links operator_extra_links hooks executors ti_deps listeners "
        "timetables owners template_fields downstream_task_ids",
    ),
    **_alike(list_of(_OBJECT), "appbuilder_views appbuilder_menu_items"),
    **_alike(_SPAN, "dag_run_timeout execution_timeout retry_delay"),
    **_alike(_MAYBE_DATE, "execution_date logical_date sla_miss last_pickled last_login created_on changed_on"),
    "template_searchpath": _or_null(list_of(_STRING)),
    "tags": list_of(object_of(name=_STRING)),
    "schedule_interval": _or_null({"anyOf": [_SPAN, ref("RelativeDelta"), ref("CronExpression")]}),
    "dataset_expression": _or_null({}),
    "run_type": _one_of(RUN_TYPES.values()),
    "trigger": ref("Trigger"),
    "triggerer_job": ref("Job"),
    "extra_links": list_of(object_of(class_ref=ref("ClassReference"))),
    "class_ref": ref("ClassReference"),
    "consuming_dags": list_of(ref("DagScheduleDatasetReference")),
    "producing_tasks": list_of(ref("TaskOutletDatasetReference")),
    "aliases": list_of(ref("DatasetAlias")),
    "created_dagruns": list_of(ref("BasicDAGRun")),
    "actions": list_of(ref("ActionResource")),
    "roles": list_of(object_of(name=_STRING)),
    "dependencies": list_of(object_of(name=_STRING, reason=_STRING)),
}
_RUN_STATE = _one_of(RUN_STATES)
_TASK_STATE = {"type": "string", "nullable": True, "enum": [None, *sorted(TASK_STATES)]}
_EVENT_EXTRA = {"extra": _or_null(_OBJECT)}
_OF_OBJECT: Mapping[str, Mapping[str, Json]] = {
    "DAGRun": {"state": _RUN_STATE},
    "BasicDAGRun": {"state": _RUN_STATE},
    "TaskInstance": {"state": _TASK_STATE},
    "TaskInstanceHistory": {"state": _TASK_STATE},
    "Task": {"pool_slots": _NUMBER, "priority_weight": _NUMBER},
    "Job": _alike(_MAYBE_STRING, "dag_id hostname unixname"),
    "XCom": {"value": {}},
    "Dataset": _EVENT_EXTRA,
    "DatasetEvent": _EVENT_EXTRA,
    "EventLog": {
        **_alike(_MAYBE_STRING, "dag_id task_id run_id owner"),
        **_alike(_or_null(_INTEGER), "map_index try_number"),
    },
    "ConnectionTest": {"status": _FLAG},
}
NESTED = (ALIAS, CREATED_RUN, DAG_REFERENCE, JOB, TASK_REFERENCE, TRIGGER)
"""Objects that occur only inside others."""

# These objects may be null.
_MAY_BE_NULL = frozenset(("Trigger", "Job"))
_CLOCK = ("days", "seconds", "microseconds")
_CALENDAR = ("years", "months", "days", "leapdays", "hours", "minutes", "seconds", "microseconds")
_DATE_PARTS = ("year", "month", "day", "hour", "minute", "second", "microsecond")
_KIND = {"__type": _STRING}
PARTS: Mapping[str, Json] = {
    "TimeDelta": _or_null(object_of(**_KIND, **dict.fromkeys(_CLOCK, _INTEGER))),
    "RelativeDelta": object_of(
        **_KIND, **dict.fromkeys(_CALENDAR, _INTEGER), **dict.fromkeys(_DATE_PARTS, _or_null(_INTEGER))
    ),
    "CronExpression": object_of(**_KIND, value=_STRING),
    "ClassReference": object_of(module_path=_MAYBE_STRING, class_name=_MAYBE_STRING),
    "ActionResource": object_of(action=object_of(name=_STRING), resource=object_of(name=_STRING)),
    "Error": {
        **object_of(type=_STRING, title=_MAYBE_STRING, status=_INTEGER, detail=_MAYBE_STRING),
        "description": "RFC 7807.",
    },
}
"""Schemas without a mapper."""

_CONFIG = object_of(sections=list_of(object_of(name=_STRING, options=list_of(object_of(key=_STRING, value=_STRING)))))


def _beating(part: str) -> Json:
    return object_of(status=_MAYBE_STRING, **{f"latest_{part}_heartbeat": _MAYBE_DATE})


ANSWERS: Mapping[str, Mapping[str, Json]] = {
    "get_dag_stats": {
        JSON: object_of(
            dags=list_of(object_of(dag_id=_STRING, stats=list_of(object_of(state=_STRING, count=_INTEGER)))),
            total_entries=_INTEGER,
        )
    },
    "get_dag_source": {JSON: object_of(content=_STRING), TEXT: _STRING},
    "clear_dag_run": {
        JSON: {"anyOf": [object_of(task_instances=list_of(ref("TaskInstanceReference"))), ref("DAGRun")]}
    },
    "get_log": {JSON: object_of(content=_STRING, continuation_token=_STRING), TEXT: _STRING},
    "get_extra_links": {JSON: {"type": "object", "additionalProperties": _MAYBE_STRING}},
    "get_config": {JSON: _CONFIG, TEXT: _STRING},
    "get_value": {JSON: _CONFIG, TEXT: _STRING},
    "get_health": {
        JSON: object_of(
            metadatabase=object_of(status=_MAYBE_STRING),
            **{part: _beating(part) for part in ("scheduler", "triggerer", "dag_processor")},
        )
    },
    "get_permissions": {JSON: object_of(actions=list_of(object_of(name=_STRING)), total_entries=_INTEGER)},
}
"""Answers of operations without a mapper, by media type."""


def schema_of(mapper: Mapper) -> Json:
    """Return the schema of a mapper's objects.

    Raises:
        KeyError: A field has no type.
    """
    made = object_of(**{field: _type_of(mapper, field) for field in sorted(mapper.fields)})
    return _or_null(made) if mapper.name in _MAY_BE_NULL else made


def _type_of(mapper: Mapper, field: str) -> Json:
    own = _OF_OBJECT.get(mapper.name, {})
    if field in own:
        return own[field]
    return _MAYBE_DATE if field in mapper.dates or field in mapper.renamed_dates else _FIELDS[field]


def items_of(name: str) -> Json:
    """Return the schema of the items of a list field of a body."""
    items: Json = _FIELDS[name]["items"] if name in ("actions", "roles") else _MAYBE_STRING
    return items

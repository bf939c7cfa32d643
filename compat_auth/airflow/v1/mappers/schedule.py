"""Converts schedules, durations, parameters and dataset conditions from 3.x to 2.x. No I/O."""

from __future__ import annotations

import re
from typing import Any

from compat_auth.airflow.v1.messages import Json
from compat_auth.crypto.strict_json import is_list, is_object

# `str()` of Python's timedelta: 3.x's text for such a schedule.
_TIMEDELTA = re.compile(r"(?:(-?\d+) days?, )?(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?\Z")
# `repr()` of dateutil's relativedelta.
_RELATIVEDELTA = re.compile(r"relativedelta\(([^)]*)\)\Z")
_RELATIVE_PART = re.compile(r"(\w+)=([+\-]?\d+)\Z")
_RELATIVE_FIELDS = ["years", "months", "days", "leapdays", "hours", "minutes", "seconds", "microseconds"]
_ABSOLUTE_FIELDS = ["year", "month", "day", "hour", "minute", "second", "microsecond"]
# ISO 8601 as pydantic writes it: P1DT2H3M4.5S, with a sign in front.
_ISO_DURATION = re.compile(
    r"(-)?P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,6}))?S)?)?\Z"
)
_DAY_S = 86400


def schedule_interval(dag: Json) -> Json | None:
    """Return 2.x's `schedule_interval`; 3.x sends a preset as its cron expression."""
    summary = dag.get("timetable_summary")
    if summary is None:
        return None
    if match := _TIMEDELTA.match(summary):
        days, hours, minutes, seconds, fraction = match.groups()
        clock = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
        return _timedelta(int(days or 0), clock, int((fraction or "0").ljust(6, "0")))
    if match := _RELATIVEDELTA.match(summary):
        return _relativedelta(match[1])
    return {"__type": "CronExpression", "value": "Dataset" if summary == "Asset" else summary}


def _timedelta(days: int, seconds: int, microseconds: int) -> Json:
    return {"__type": "TimeDelta", "days": days, "seconds": seconds, "microseconds": microseconds}


def _relativedelta(arguments: str) -> Json:
    given = {m[1]: int(m[2]) for part in arguments.split(", ") if (m := _RELATIVE_PART.match(part))}
    relative = {name: given.get(name, 0) for name in _RELATIVE_FIELDS}
    return {"__type": "RelativeDelta", **relative, **{name: given.get(name) for name in _ABSOLUTE_FIELDS}}


def timetable_description(dag: Json) -> str | None:
    """Return the description, with 2.x's word for assets."""
    text = dag.get("timetable_description")
    return text.replace("Triggered by assets", "Triggered by datasets") if text else text


def dag_run_timeout(dag: Json) -> Json | None:
    """Return an ISO 8601 duration as an object of 2.x."""
    text = dag.get("dag_run_timeout")
    match = _ISO_DURATION.match(text) if isinstance(text, str) else None
    if match is None:
        return None
    sign, years, months, weeks, days, hours, minutes, seconds, fraction = match.groups()
    all_days = int(years or 0) * 365 + int(months or 0) * 30 + int(weeks or 0) * 7 + int(days or 0)
    clock = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    micros = ((all_days * _DAY_S + clock) * 1_000_000 + int((fraction or "0").ljust(6, "0"))) * (-1 if sign else 1)
    all_days, rest = divmod(micros, _DAY_S * 1_000_000)
    return _timedelta(all_days, *divmod(rest, 1_000_000))


def params(found: Json) -> Json:
    """Return parameters in 2.x's format: with the name of their class, without their source."""
    given: Json = found.get("params") or {}
    return {name: _param(param) for name, param in given.items()}


def _param(param: object) -> Any:
    if not is_object(param):
        return param
    return {
        "__class": "airflow.models.param.Param",
        "value": param.get("value"),
        "description": param.get("description"),
        "schema": param.get("schema", {}),
    }


def dataset_expression(dag: Json) -> Any:
    """Return the dataset condition, with each asset as its URI."""
    return _expression(dag.get("asset_expression"))


def _expression(found: object) -> Any:
    if is_list(found):
        return [_expression(part) for part in found]
    if not is_object(found):
        return found
    asset: object = found.get("asset")
    if is_object(asset):
        return asset.get("uri")
    alias: object = found.get("alias")
    if is_object(alias):
        return {"alias": alias.get("name")}
    return {name: _expression(part) for name, part in found.items()}

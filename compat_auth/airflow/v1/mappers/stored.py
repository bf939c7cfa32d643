"""Connections, variables and pools. No I/O."""

from __future__ import annotations

import json

from compat_auth.airflow.v1.mappers.mapper import Mapper
from compat_auth.airflow.v1.messages import Json

CONNECTION_LISTED = Mapper(
    name="ConnectionCollectionItem",
    same=("connection_id", "conn_type", "description", "host", "login", "schema", "port"),
    dropped=frozenset(("password", "extra", "team_name")),
)
CONNECTION = Mapper(
    name="Connection", same=(*CONNECTION_LISTED.same, "extra"), dropped=frozenset(("password", "team_name"))
)


def _variable_value(found: Json) -> str:
    # 3.0.6 and later parse JSON values; 2.x has only text.
    value = found.get("value")
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, allow_nan=False)


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

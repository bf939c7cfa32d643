"""Objects that the body of a request to Airflow's API names: DAGs, connections, variables, pools. No I/O, no Flask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from compat_auth.crypto.strict_json import count_containers, is_list, is_object

ANY = "~"
"""Stands for every object in place of a name, as Airflow writes it for every DAG."""
MAX_NAMES = 1000
"""A body that names more objects counts as naming all of them."""
_MAX_CONTAINERS = 20_000
_MAX_COMMAS = 100_000
IN_BODY = frozenset(("bulk", "runs", "list", "named", "clear"))
"""Kinds of operations (see `operations`) whose bodies name objects."""

# Members of a body that name an object of each family; some of Airflow's models accept two spellings.
_KEYS = {
    "dags": ("dag_id",),
    "connections": ("connection_id", "conn_id"),
    "variables": ("key",),
    "pools": ("name", "pool"),
}


class Named(NamedTuple):
    """The object that an entity of a body names.

    Attributes:
        name: Name of the object; None: the one in the path.
        run: Id of a DAG run; None: the one in the path, if any.
    """

    name: str | None
    run: str | None = None


EVERYTHING = Named(ANY, ANY)


class Reader(NamedTuple):
    """How to read the body of an operation.

    Attributes:
        kind: Kind in the table of operations.
        family: "dags", "connections", "variables" or "pools".
        is_named_by_path: The path names an object, which counts where the body names none.
    """

    kind: str
    family: str
    is_named_by_path: bool


def named_in(reader: Reader, body: bytes | None) -> tuple[set[Named], bool]:
    """Return the objects that the body names, and whether it may delete them; every object where the body is ambiguous.

    Args:
        reader: How to read the body.
        body: The whole body; None where it is not available.
    """
    try:
        document = _parsed(body or b"")
        named = {*_entities(reader, document)}
        if len(named) <= MAX_NAMES:
            return named, reader.kind == "bulk" and _deletes(document)
    except (ValueError, RecursionError):
        pass
    return {EVERYTHING}, reader.kind == "bulk"


def _parsed(body: bytes) -> dict[str, Any]:
    if count_containers(body) > _MAX_CONTAINERS or body.count(b",") > _MAX_COMMAS:
        # The sender may be unauthenticated, and nothing else runs while this parses.
        raise ValueError("too many values")
    document = json.loads(body.decode("utf-8"), object_pairs_hook=_once)
    if not is_object(document):
        raise ValueError("not an object")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a member twice")
    return found


def _entities(reader: Reader, document: dict[str, Any]) -> Iterator[Named]:
    match reader.kind:
        case "bulk":
            for action in _objects(document.get("actions", [])):
                for entity in _list(action.get("entities", [])):
                    yield _entity(reader, entity)
        case "runs":
            yield from (_entity(reader, entity) for entity in _objects(document.get("dag_runs", [])))
        case "list":
            # To Airflow, an empty list is no filter.
            yield from (Named(_text(name)) for name in _list(document.get("dag_ids", [])) or [ANY])
        case "clear":
            asks_for_more = any(document.get(flag) for flag in ("include_subdags", "include_parentdag"))
            yield EVERYTHING if asks_for_more else Named(None)
        case _:
            yield _entity(reader, document)


def _entity(reader: Reader, entity: object) -> Named:
    if isinstance(entity, str):
        return Named(None if reader.is_named_by_path else _text(entity))
    if not is_object(entity):
        raise ValueError("neither a name nor an object")
    names = {_text(entity[key]) for key in _KEYS[reader.family] if entity.get(key) is not None}
    if len(names) > 1 or (not names and not reader.is_named_by_path):
        raise ValueError("no name, or two")
    run = entity.get("dag_run_id")
    return Named(names.pop() if names else None, None if run is None else _text(run))


def _deletes(document: dict[str, Any]) -> bool:
    return any(action.get("action") not in ("create", "update") for action in _objects(document.get("actions", [])))


def _list(value: object) -> list[Any]:
    if value is None:
        return []
    if not is_list(value):
        raise ValueError("not a list")
    return value


def _objects(value: object) -> Iterator[dict[str, Any]]:
    for each in _list(value):
        if not is_object(each):
            raise ValueError("not an object")
        yield each


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a name")
    value.encode("utf-8")
    return value

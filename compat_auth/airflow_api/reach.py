"""The objects that a request to Airflow's API can reach beside the one in its path. No I/O, no Flask.

A limit on one DAG, such as the scope `dags:etl` or a `[[require]]` on `/api/v2/dags/etl`, is about paths. But Airflow
also accepts further DAGs in a body, by a pattern or through another object, and a list shows all DAGs. `operations`
says where; a request that is in no table can reach everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote

from compat_auth.airflow_api.bodies import ANY, EVERYTHING, IN_BODY, Reader, named_in
from compat_auth.airflow_api.operations import UI, V2
from compat_auth.airflow_api.operations_v1 import V1

MAX_BODY_BYTES = 1024 * 1024
"""Largest body that is searched for names, in bytes; a larger one counts as naming everything."""

_PLACES = {"dags": "{dag_id}", "connections": "{connection_id}", "variables": "{variable_key}", "pools": "{pool_name}"}
_RUN = "{dag_run_id}"
# Parameters for which Airflow takes the whole rest of the path.
_RESTS = frozenset(("{xcom_key}", "{variable_key}", "{pool_name}", "{key}", "{uri}"))
_READING = frozenset(("GET", "HEAD"))
_CHANGING = frozenset(("POST", "PUT", "PATCH"))
_ALL_METHODS = _READING | _CHANGING | {"DELETE"}
# Below any path, because Airflow may be served below one, and clients of the gateway then use it.
_BASE = re.compile(r"((?:/[^/]+)*?)(/api/v2|/api/v1|/ui)(?:/(.*))?\Z", re.DOTALL)
_DAG = re.compile(r"((?:/[^/]+)*?(?:/api/v[12]|/ui)/dags/)[^/]+(.*)\Z", re.DOTALL)
_FIXED = re.compile(rb"((?:/[^/]+)*?/api/v[12]/(dags|connections|variables|pools)/(?!~(?:/|\Z))[^/]+/?)", re.IGNORECASE)


class Target(NamedTuple):
    """An object that a request reaches.

    Attributes:
        path: Its path, or "" for every object of the family.
        path: Its own path, or "" for every object of the family.
    """

    family: str
    path: str


@dataclass(frozen=True, slots=True)
class Reach:
    """The objects that a request can reach beside the one in its path.

    Attributes:
        paths: The request's path again for each further object in the body, with that object's name; `~` stands for
            all. A scope must cover each of these paths, too.
        targets: Objects whose rules must allow the request.
        methods: What the request does to these objects, as methods of their paths.
    """

    paths: frozenset[str] = frozenset()
    targets: frozenset[Target] = frozenset()
    methods: frozenset[str] = frozenset()

    def __or__(self, other: Reach) -> Reach:
        """Return the objects that either can reach."""
        return Reach(self.paths | other.paths, self.targets | other.targets, self.methods | other.methods)


class _Operation(NamedTuple):
    kind: str
    method: str
    base: str
    segments: tuple[str, ...]

    @property
    def family(self) -> str:
        return self.segments[0] if self.segments[0] in _PLACES else "dags"

    @property
    def names_own_object(self) -> bool:
        """Whether the path names an object of the family."""
        return _PLACES[self.family] in self.segments

    @property
    def reader(self) -> Reader:
        return Reader(self.kind, self.family, self.names_own_object)

    @property
    def has_own_path(self) -> bool:
        """Whether the path begins with the path of the object that it names."""
        return self.base != "/ui" and self.segments[:2] == (self.family, _PLACES[self.family])


class _Reading(NamedTuple):
    """One interpretation of a path.

    Attributes:
        root: The path below which Airflow is served, without a final slash.
        segments: The rest below the API's path, still encoded.
        operations: Operations that match.
    """

    root: str
    segments: tuple[str, ...]
    operations: tuple[_Operation, ...]


_NOTHING = Reach()


def _read(table: str, base: str) -> Iterator[_Operation]:
    for line in table.split("\n"):
        if line:
            kind, methods, path = line.split(" ")
            for method in methods.split(","):
                yield _Operation(kind, method, base, tuple(path[1:].split("/")))


OPERATIONS = (*_read(V2, "/api/v2"), *_read(UI, "/ui"), *_read(V1, "/api/v1"))


def names_in_body(method: str, path: str) -> bool:
    """Return whether the body of a request determines which objects it reaches."""
    return any(operation.kind in IN_BODY for reading in _readings(method, path) for operation in reading.operations)


def reach_of(method: str, path: str, body: bytes | None) -> Reach:
    """Return the objects that a request can reach beside the one in its path.

    Args:
        method: Upper case.
        path: Canonical path, without the query.
        body: The whole body; None where it is not available.
    """
    reach = _NOTHING
    for reading in _readings(method, path):
        if not reading.operations:
            reach |= _unknown(path)
        for operation in reading.operations:
            reach |= _reach(operation, reading, body)
    return reach


def fixed_objects(prefixes: Iterable[bytes]) -> tuple[tuple[str, bytes], ...]:
    """Return the family and path of the objects that path prefixes name; the path may be incomplete.

    Args:
        prefixes: Prefixes of a rule: `/api/v2/dags/etl`, `/api/v2/dags/etl/dagRuns`. `/api/v2/dags` names no object.
    """
    matches = (_FIXED.match(prefix) for prefix in prefixes)
    return tuple((match[2].decode().lower(), match[1]) for match in matches if match is not None)


@lru_cache(maxsize=1024)
def _readings(method: str, path: str) -> tuple[_Reading, ...]:
    """Return the interpretations of a path below Airflow's APIs; none elsewhere."""
    if method == "OPTIONS":
        return ()
    method = "GET" if method == "HEAD" else method
    spellings = {path.rstrip("/"): None}
    if "%" in path:
        # Airflow decodes a path before it looks for the route.
        spellings[quote(unquote(path).rstrip("/"), safe="/~:@!$&'()*+,;=")] = None
    matches = (_BASE.match(spelling) for spelling in spellings)
    return tuple(
        _Reading(match[1], segments, _fitting(method, match[2], segments))
        for match in matches
        if match is not None
        for segments in (tuple((match[3] or "").split("/")),)
    )


def _fitting(method: str, base: str, segments: tuple[str, ...]) -> tuple[_Operation, ...]:
    return tuple(
        operation
        for operation in OPERATIONS
        if operation.method == method and operation.base == base and _fits(operation.segments, segments)
    )


def _fits(template: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    if len(segments) < len(template) or (len(segments) > len(template) and template[-1] not in _RESTS):
        return False
    return all(
        unquote(found) == want or (want.startswith("{") and found != "")
        for want, found in zip(template, segments, strict=False)
    )


def _unknown(path: str) -> Reach:
    match = _DAG.match(path)
    further = frozenset((f"{match[1]}{ANY}{match[2]}",) if match is not None else ())
    return Reach(further, frozenset(Target(family, "") for family in _PLACES), _ALL_METHODS)


def _reach(operation: _Operation, reading: _Reading, body: bytes | None) -> Reach:
    kind, family, (root, segments, _) = operation.kind, operation.family, reading
    if kind == "none":
        return _NOTHING
    reads = operation.method == "GET" or kind == "list"
    methods = _READING if reads else _CHANGING
    if operation.method == "DELETE":
        methods = frozenset(("DELETE",))
    own = _place(operation, _PLACES[family])
    if kind == "own":
        name = unquote("/".join(segments[own:]) if operation.segments[own] in _RESTS else segments[own])
        at_own_path = operation.has_own_path and name != ANY
        return _NOTHING if at_own_path else Reach(frozenset(), frozenset((_target(root, operation, name),)), methods)
    named, deletes = ({EVERYTHING}, False) if kind == "any" else named_in(operation.reader, body)
    if deletes:
        methods |= {"DELETE"}
    run = _place(operation, _RUN)
    paths: set[str] = set()
    targets: set[Target] = set()
    for entity in named:
        places = {
            place: text
            for place, text in ((own, entity.name), (run, entity.run))
            # A scope that covers "~" covers every object.
            if place >= 0 and text and segments[place] != ANY
        }
        if places:
            paths.add(_with(root + operation.base, segments, places))
        path_names = unquote(segments[own]) if own >= 0 else ANY
        targets.add(_target(root, operation, path_names if entity.name is None else entity.name))
    return Reach(frozenset(paths), frozenset(targets), methods)


def _place(operation: _Operation, name: str) -> int:
    """Return the index of the name in the path; -1 where the path does not name it."""
    if name in operation.segments:
        return operation.segments.index(name)
    # Older versions read this path as a DAG named "bulk", and so do scopes.
    return 1 if name == _PLACES["dags"] and operation.segments == ("dags", "bulk") else -1


def _target(root: str, operation: _Operation, name: str) -> Target:
    if name == ANY:
        return Target(operation.family, "")
    base = "/api/v1" if operation.base == "/api/v1" else "/api/v2"
    # Some databases ignore blanks at the end of a name.
    return Target(operation.family, f"{root}{base}/{operation.family}/{quote(name.strip(), safe='~')}")


def _with(base: str, segments: tuple[str, ...], places: dict[int, str]) -> str:
    changed = (quote(places[at], safe="~") if at in places else segment for at, segment in enumerate(segments))
    return "/".join((base, *changed))

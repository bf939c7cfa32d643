"""Finds the operation of `/api/v1` for a method and a canonical path; encoded segments are data. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from compat_auth.airflow.v1.operation import Operation
from compat_auth.airflow.v1.problems import V1Problem

_PLACE = re.compile(r"\{(\w+)\}\Z")
# As in 2.11's own routes: integers, and variables that may contain a plain slash.
NUMBERS = frozenset(("map_index", "task_try_number", "event_log_id", "import_error_id"))
_TO_THE_END = frozenset(("uri", "variable_key", "xcom_key"))
_NOT_FOUND = (
    "The requested URL was not found on the server. If you entered the URL manually please check your spelling and "
    "try again."
)


@dataclass(slots=True)
class _Node:
    literal: dict[str, _Node] = field(default_factory=dict[str, "_Node"])
    places: dict[str, _Node] = field(default_factory=dict[str, "_Node"])
    operations: dict[str, Operation] = field(default_factory=dict[str, Operation])


class Router:
    """All operations, by method and path.

    Args:
        operations: The records.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Node()
        for operation in operations:
            node = self._root
            for segment in operation.path.split("/")[1:]:
                place = _PLACE.match(segment)
                children = node.literal if place is None else node.places
                node = children.setdefault(segment if place is None else place[1], _Node())
            node.operations[operation.method] = operation

    def find(self, method: str, path: str) -> tuple[Operation, Mapping[str, str]]:
        """Return the operation, and the values of its template's variables, still encoded.

        Args:
            method: Upper case; HEAD finds GET.
            path: Canonical, below `/api/v1`.

        Raises:
            V1Problem: 404 or 405, in 2.11's format for a request without an operation.
        """
        wanted, is_path = "GET" if method == "HEAD" else method, False
        for operations, segments in _matches(self._root, path.split("/")[1:]):
            if wanted in operations:
                return operations[wanted], segments
            is_path = True
        if is_path:
            raise V1Problem(405, "The method is not allowed for the requested URL.", routed=False)
        raise V1Problem(404, _NOT_FOUND, routed=False)

    def methods(self, path: str) -> tuple[str, ...]:
        """Return the methods of a path for `Allow`; empty if the path does not exist."""
        known = {method for operations, _ in _matches(self._root, path.split("/")[1:]) for method in operations}
        if not known:
            return ()
        return tuple(sorted({*known, "OPTIONS", *(("HEAD",) if "GET" in known else ())}))


def _matches(node: _Node, segments: list[str]) -> Iterator[tuple[dict[str, Operation], dict[str, str]]]:
    """Yield the matches of a path, the most literal first: `list` may be a run's id where no route has that name."""
    if not segments:
        if node.operations:
            yield node.operations, {}
        return
    first, rest = segments[0], segments[1:]
    literal = node.literal.get(first)
    if literal is not None:
        yield from _matches(literal, rest)
    for name, child in node.places.items():
        if name in _TO_THE_END:
            if all(segments):
                # A slash inside the name is data: it stays encoded.
                yield child.operations, {name: "%2F".join(segments)}
        elif first and (name not in NUMBERS or (first.isascii() and first.isdigit())):
            for operations, found in _matches(child, rest):
                yield operations, {name: first, **found}
